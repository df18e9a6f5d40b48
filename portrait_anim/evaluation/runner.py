"""The whole evaluation: declare portraits, prepare clips, render and measure every pair, write the report."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from portrait_anim import __version__, weights
from portrait_anim.evaluation.bars import Summary, Verdict, judge, summarise, summarise_by
from portrait_anim.evaluation.declaration import Declared
from portrait_anim.evaluation.folders import CLIP_SUFFIXES, PICTURE_SUFFIXES, NamedFile, list_files, read_groups
from portrait_anim.evaluation.pair import PairTask, PairWorker, known_result, not_usable, run_in_process
from portrait_anim.evaluation.preparation import Say, declare_portraits, prepare_clips
from portrait_anim.evaluation.records import SCHEMA, PairResult, digest_of, make_folders, read_json, write_json
from portrait_anim.evaluation.request import EvaluationRequest
from portrait_anim.evaluation.truth import TruthSamples, TruthScore, TruthTable, measure_truth
from portrait_anim.types import Progress, ProgressCallback


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Everything that a report shows.

    Attributes:
        request: What was asked for.
        created: When, timezone-aware.
        version: Of the program.
        weights: Digest of the weights.
        machine: Processor and operating system.
        pairs: Every pair, in the order of portraits and clips.
        summary: Means over all measured pairs.
        verdicts: The bars.
        by_portrait: Means by portrait.
        by_clip: Means by clip.
        by_group: Means by value, by column of the groups file.
        truth: Scores on rendered people, when they were measured.
        truth_note: What was rendered for that, or why nothing was.
        declared: Portraits enrolled or found, by name.
        ignored: Files that are neither picture nor clip.
        wall_s: Duration of this run [s]; pairs of earlier runs cost nothing.
        num_kept: Pairs taken from an earlier run.
    """

    request: EvaluationRequest
    created: datetime
    version: str
    weights: str
    machine: str
    pairs: tuple[PairResult, ...]
    summary: Summary
    verdicts: tuple[Verdict, ...]
    by_portrait: dict[str, Summary]
    by_clip: dict[str, Summary]
    by_group: dict[str, dict[str, Summary]]
    truth: TruthTable | None
    truth_note: str
    declared: dict[str, Declared]
    ignored: tuple[str, ...]
    wall_s: float
    num_kept: int


def evaluate(
    request: EvaluationRequest,
    *,
    clock: Callable[[], datetime],
    truth_samples: Callable[[], TruthSamples] | None = None,
    truth_key: str = "",
    truth_note: str = "",
    on_progress: ProgressCallback | None = None,
    say: Say | None = None,
) -> Evaluation:
    """Evaluate portraits and clips.

    Args:
        request: What to evaluate.
        clock: Current time.
        truth_samples: Renders samples with known truth when they are needed; `None` leaves that part out.
        truth_key: Names those samples; the scores of an earlier run with the same key are taken.
        truth_note: What they are, or why there are none.
        on_progress: Told about progress, stages `"clips"`, `"pairs"` and `"truth"`.
        say: Told in words what is declared and left out.

    Returns:
        What the report shows; it is not written yet.

    Raises:
        InputError: If a folder is missing or holds nothing of the kind.
        ModelError: If weights are missing or damaged.
    """
    start = time.perf_counter()
    request = replace(request, options=replace(request.options, crop_only=True))
    portraits, ignored = list_files(request.portraits, PICTURE_SUFFIXES, what="portraits")
    clips, others = list_files(request.clips, CLIP_SUFFIXES, what="driving clips")
    groups = read_groups(request.groups)
    make_folders(request.out)
    digest = weights_digest(request.profile)
    worker = PairWorker(request.profile, request.arcface)
    say = say or _silent
    prepared, bad_clips = prepare_clips(request, clips, digest, worker, on_progress, say)
    declared, bad_portraits = declare_portraits(request, portraits, prepared, clock, say)
    tasks = [
        PairTask(portrait=portrait, declared=declared[portrait.name], clip=clip, request=request, weights_digest=digest)
        for portrait in portraits
        for clip in prepared
        if portrait.name in declared
    ]
    num_kept = sum(known_result(task) is not None for task in tasks)
    found = _run(tasks, worker, request.jobs, on_progress, say)
    pairs = tuple(_in_order(portraits, clips, found, bad_portraits, bad_clips))
    truth = None
    if truth_samples is not None:
        stamp = digest_of(SCHEMA, truth_key, digest, request.options)
        truth = _truth(request, truth_samples, stamp, worker, on_progress)
    summary = summarise(pairs)
    columns = sorted({column for values in groups.values() for column in values})
    return Evaluation(
        request=request, created=clock(), version=__version__, weights=digest, machine=_machine(), pairs=pairs,
        summary=summary, verdicts=tuple(judge(summary, truth)),
        by_portrait=summarise_by(pairs, {p.name: p.name for p in portraits}, "portrait"),
        by_clip=summarise_by(pairs, {c.name: c.name for c in clips}, "clip"),
        by_group={
            column: summarise_by(pairs, {name: values.get(column, "") for name, values in groups.items()}, "portrait")
            for column in columns
        },
        truth=truth, truth_note=truth_note, declared=declared, ignored=tuple(ignored + others),
        wall_s=time.perf_counter() - start, num_kept=num_kept,
    )  # fmt: skip


def weights_digest(profile: str) -> str:
    """Checksum over the weight files of a profile, from the manifest."""
    manifest = weights.read_manifest(weights.locate(profile))
    return digest_of([(line.file, line.sha256) for line in manifest.files if line.profile == profile])


def _run(
    tasks: Sequence[PairTask], worker: PairWorker, jobs: int, on_progress: ProgressCallback | None, say: Say
) -> dict[tuple[str, str], PairResult]:
    """Results by portrait and clip."""
    found: dict[tuple[str, str], PairResult] = {}
    _tell(on_progress, "pairs", 0, len(tasks))
    for result in _results(tasks, worker, jobs, on_progress):
        found[result.portrait, result.clip] = result
        if result.status != "measured":
            say(f"{result.portrait} with {result.clip} is not usable: {result.reason}")
        _tell(on_progress, "pairs", len(found), len(tasks))
    return found


def _results(
    tasks: Sequence[PairTask], worker: PairWorker, jobs: int, on_progress: ProgressCallback | None
) -> Iterator[PairResult]:
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            yield worker.run(task, None if on_progress is None else _only("animate", on_progress))
        return
    # Fresh processes: neither torch nor mediapipe survives a fork.
    context = multiprocessing.get_context("spawn")
    jobs = min(jobs, len(tasks))
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_share_cores, initargs=(jobs,)) as pool:
        running = [pool.submit(run_in_process, task) for task in tasks]
        try:
            for future in as_completed(running):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _share_cores(jobs: int) -> None:
    """Let this process use its part of the cores only: threads of several processes wait for each other."""
    import torch

    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // jobs)))


def _in_order(
    portraits: Sequence[NamedFile],
    clips: Sequence[NamedFile],
    found: dict[tuple[str, str], PairResult],
    bad_portraits: dict[str, Exception],
    bad_clips: dict[str, Exception],
) -> Iterator[PairResult]:
    """Every pair of the two folders, also those that could not be tried."""
    for portrait in portraits:
        for clip in clips:
            error = bad_portraits.get(portrait.name) or bad_clips.get(clip.name)
            if error is not None:
                yield not_usable(portrait.name, clip.name, error)
            elif (portrait.name, clip.name) in found:
                yield found[portrait.name, clip.name]


def _truth(
    request: EvaluationRequest,
    samples: Callable[[], TruthSamples],
    stamp: str,
    worker: PairWorker,
    on_progress: ProgressCallback | None,
) -> TruthTable:
    """Scores on rendered people, from an earlier run when nothing changed."""
    path = request.out / "truth.json"
    kept = read_json(path)
    if isinstance(kept, dict) and kept.get("stamp") == stamp:
        scores = {name: TruthScore(**score) for name, score in kept["scores"].items()}
        return TruthTable(scores=scores, num_samples=kept["num_samples"], num_skipped=kept["num_skipped"])
    table = measure_truth(samples(), worker.pipeline(), request.options, on_progress=on_progress)
    write_json(path, {"stamp": stamp, "scores": table.scores, "num_samples": table.num_samples,
                      "num_skipped": table.num_skipped})  # fmt: skip
    return table


def _only(stage: str, on_progress: ProgressCallback) -> ProgressCallback:
    """Pass on one stage of a render."""

    def pass_on(progress: Progress) -> None:
        if progress.stage == stage:
            on_progress(progress)

    return pass_on


def _tell(on_progress: ProgressCallback | None, stage: str, done: int, total: int) -> None:
    if on_progress:
        on_progress(Progress(stage=stage, done=done, total=total))


def _silent(text: str) -> None:
    """Say nothing."""


def _machine() -> str:
    return f"{_processor()}, {multiprocessing.cpu_count()} cores, {platform.system()} {platform.machine()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or "unknown processor"
