"""Work beside the page: newest progress only, errors handed over, cancel that stops."""

import threading
import time

import numpy as np
import pytest

from portrait_anim.errors import Cancelled, InputError
from portrait_anim.types import Progress

rendering = pytest.importorskip("portrait_anim_demo.rendering", reason="the demo is not installed")


def test_the_result_comes_after_the_last_progress() -> None:
    def work(on_progress, cancel):
        for done in range(1, 1001):
            on_progress(Progress(stage="count", done=done, total=1000))
        return "ready"

    job = rendering.RenderJob(work)
    seen = list(job.run(interval_s=0.01))
    assert job.result == "ready"
    assert 1 <= len(seen) < 1000
    assert seen[-1].done == 1000


def test_a_preview_is_not_lost_to_a_report_without_one() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)

    def work(on_progress, cancel):
        on_progress(Progress(stage="a", done=1, preview=picture))
        on_progress(Progress(stage="b", done=2))

    (only,) = rendering.RenderJob(work).run()
    assert only.stage == "b"
    assert only.preview is picture


def test_an_error_of_the_work_is_raised_to_the_page() -> None:
    def work(on_progress, cancel):
        raise InputError("expected this")

    with pytest.raises(InputError, match="expected this"):
        list(rendering.RenderJob(work).run())


def test_cancel_is_seen_by_the_work() -> None:
    def work(on_progress, cancel):
        on_progress(Progress(stage="a", done=0))
        while not cancel():
            time.sleep(0.005)
        raise Cancelled("stopped")

    job = rendering.RenderJob(work)
    running = job.run()
    next(running)
    assert job.started
    job.cancel()
    with pytest.raises(Cancelled):
        list(running)
    assert not job.started


def test_a_job_cancelled_before_it_began_never_runs() -> None:
    ran = threading.Event()
    job = rendering.RenderJob(lambda on_progress, cancel: ran.set())
    job.cancel()
    with pytest.raises(Cancelled):
        list(job.run())
    assert not ran.is_set()


def test_leaving_early_waits_until_the_work_has_stopped() -> None:
    stopped = threading.Event()

    def work(on_progress, cancel):
        on_progress(Progress(stage="a", done=0))
        while not cancel():
            time.sleep(0.005)
        stopped.set()

    running = rendering.RenderJob(work).run()
    next(running)
    running.close()
    assert stopped.is_set()
