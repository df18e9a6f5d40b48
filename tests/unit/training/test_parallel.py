"""Two processes that train together do what one process does with the whole batch."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from portrait_anim.training.draws import RankDraws, normal, step_seed, uniform
from portrait_anim.training.parallel import open_crew

WORKER = """
import sys, torch
from pathlib import Path
from portrait_anim.training import loop, state
from portrait_anim.training.parallel import open_crew
from portrait_anim.training.recipes import StageConfig, TrainConfig
from portrait_anim.training.sources import Materials
from portrait_anim.training.stages import DATA_KINDS, STAGES

stage, data, run, batch = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
torch.manual_seed(0)
crew = open_crew("cpu")
run.mkdir(exist_ok=True)
stages = (StageConfig(stage=stage, num_steps=2, batch_size=batch),)
config = TrainConfig(stages=stages, run=run, bf16=False, log_every=1)
begun = state.start(STAGES[stage], run, device=crew.device, initial=None,
                    settings={"batch_size": batch, "learning_rate": 1e-4})
materials = Materials(device=crew.device, seed=0, data=data, rank=crew.rank, world=crew.world)
job = loop.StageJob(config=config, stage=config.stages[0], state=begun, held_out=[], crew=crew, budget_s=None,
                    source=materials.training(DATA_KINDS[STAGES[stage].data]), should_stop=lambda: False)
assert loop.run_stage(job)
torch.save(begun.nets.state_dict(), run / f"rank{crew.rank}.pt")
crew.close()
"""


def test_parts_of_a_draw_make_the_whole():
    like = torch.zeros(1)
    for draw in (uniform, normal):
        whole = draw(torch.Generator().manual_seed(1), like, 8, 3, 4)
        parts = [
            draw(RankDraws(generator=torch.Generator().manual_seed(1), rank=rank, world=2), like, 4, 3, 4)
            for rank in (0, 1)
        ]
        assert torch.equal(torch.cat(parts), whole)


def test_seeds_differ_by_every_part():
    seeds = {step_seed(0, "warp", 1), step_seed(0, "warp", 2), step_seed(1, "warp", 1), step_seed(0, "motion", 1)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_alone_nothing_is_exchanged():
    crew = open_crew("cpu")
    tensor = torch.tensor([3.0])
    crew.mean_([tensor])
    assert (crew.is_main, crew.agree(0.25), tensor.item()) == (True, 0.25, 3.0)


def launch(stage, data, run, batch, world):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(world):
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        own |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": 1} if world > 1 else {}
        environment = os.environ | {k: str(v) for k, v in own.items()}
        command = [sys.executable, "-c", WORKER, stage, str(data), str(run), str(batch)]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    failures = []
    for process in processes:
        if failures:
            process.kill()  # it would wait for the one that failed
        _, errors = process.communicate()
        if process.returncode:
            failures.append(errors[-3000:])
    assert not failures, failures[0]
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["warp", "denoise"])
def test_two_processes_do_what_one_does(stage, shards, tmp_path):
    pytest.importorskip("accelerate", reason="needs accelerate (extra train)")
    alone = launch(stage, shards, tmp_path / "alone", 4, 1)
    both = launch(stage, shards, tmp_path / "both", 2, 2)
    ranks = [torch.load(tmp_path / "both" / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(value, ranks[1][name]) for name, value in ranks[0].items())
    # a loss is a mean weighted within the batch, so the mean over two halves is not exactly that of the whole
    for one, two in zip(alone, both, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=0.02)
    whole = torch.load(tmp_path / "alone" / "rank0.pt", weights_only=True)
    start_to_end = max(float((whole[k].float() - v.float()).abs().max()) for k, v in ranks[0].items())
    assert start_to_end <= 2 * 2 * 1e-4  # no parameter is farther than two steps of Adam in opposite directions
