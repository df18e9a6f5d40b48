"""Two things at once: denoising ahead of decoding, guidance rows on two devices; results must not notice."""

import copy
import threading
from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler

from portrait_anim.errors import InputError
from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG
from portrait_anim.pipelines.xportrait2_ahead import WorkAhead
from portrait_anim.pipelines.xportrait2_checks import check_placement
from portrait_anim.pipelines.xportrait2_devices import DistantRow, RowsOnTwoDevices
from portrait_anim.pipelines.xportrait2_options import SamplingOptions
from portrait_anim.pipelines.xportrait2_sampling import denoise, draw_noise

CPU = torch.device("cpu")


def nothing():
    pass


def numbers(count, log=None):
    for value in range(count):
        if log is not None:
            log.append(threading.current_thread().name)
        yield torch.tensor(value)


def test_items_come_in_order_from_another_thread():
    log = []
    items = WorkAhead(CPU).items(numbers(5, log), nothing)
    assert [int(item) for item in items] == [0, 1, 2, 3, 4]
    assert set(log) == {"denoising ahead"}


def test_it_is_never_more_than_one_item_ahead():
    begun = []
    taken = 0

    def work():
        for value in range(6):
            begun.append(value)
            assert value <= taken + 1
            yield torch.tensor(value)

    for _ in WorkAhead(CPU).items(work(), nothing):
        taken += 1
    assert begun == [0, 1, 2, 3, 4, 5]


def test_the_second_item_is_made_while_the_first_is_used():
    second = threading.Event()

    def work():
        yield torch.tensor(0)
        second.set()
        yield torch.tensor(1)

    items = WorkAhead(CPU).items(work(), nothing)
    next(items)
    assert second.wait(timeout=30)
    items.close()


def test_an_error_of_the_work_comes_out():
    def work():
        yield torch.tensor(0)
        raise RuntimeError("broken")

    items = WorkAhead(CPU).items(work(), nothing)
    next(items)
    with pytest.raises(RuntimeError, match="broken"):
        next(items)


def test_work_that_nobody_waits_for_ends():
    ahead = WorkAhead(CPU)
    begun, stopped = threading.Event(), threading.Event()

    def endless():
        yield torch.tensor(0)
        begun.set()
        try:
            while True:
                ahead.check()
                threading.Event().wait(0.001)
        finally:
            stopped.set()

    items = ahead.items(endless(), nothing)
    next(items)
    assert begun.wait(timeout=30)
    items.close()
    assert stopped.is_set()


def test_whoever_waits_can_stop_and_reports_are_made_in_his_thread():
    ahead = WorkAhead(CPU)
    threads = []

    def slow():
        for number in range(100_000):
            ahead.check()
            ahead.report("step", lambda number=number: threads.append((number, threading.current_thread().name)))
            threading.Event().wait(0.001)
        yield torch.tensor(0)

    def stop():
        ahead.tell()
        raise InterruptedError

    with pytest.raises(InterruptedError):
        next(ahead.items(slow(), stop))
    assert [name for _, name in threads] == [threading.current_thread().name]  # only the newest report


def test_networks_that_take_turns_cannot_work_side_by_side():
    options = SamplingOptions(stream=True, overlap=True)
    check_placement(options, offloaded=False)
    with pytest.raises(InputError, match="offload"):
        check_placement(options, offloaded=True)
    with pytest.raises(ValueError, match="stream"):
        SamplingOptions(overlap=True)


# -- two devices ------------------------------------------------------------------------------------------------------


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def run(unet, options, replica=None):
    token, count = torch.ones(1, 8), 3
    blind = (replica or unet).condition(torch.zeros_like(token), None, draw(1, 6, 4, seed=2))
    return denoise(
        RowsOnTwoDevices(unet, replica) if replica else unet, DDIMScheduler(**DDIM_CONFIG),
        portrait=draw(1, 4, 8, 8, seed=1), unconditional=DistantRow(row=blind) if replica else blind,
        conditional=unet.condition(token, None, draw(count, 6, 4, seed=4)), noise=draw_noise((4, count, 8, 8), 0),
        offsets=[0] * options.num_steps, options=options,
    )  # fmt: skip


@pytest.mark.parametrize("change", [{}, {"cache_every": 2}, {"cache_every": 2, "guided": (0.0, 0.6)}, {"guidance": 1}])
def test_two_devices_give_what_one_gives(unet, change):
    options = replace(SamplingOptions(num_steps=4), **change)
    plain = run(unet, options)
    error = run(unet, options, copy.deepcopy(unet)) - plain
    assert error.square().mean().sqrt() < 1e-4 * plain.square().mean().sqrt()


def test_each_row_is_computed_where_it_lies(unet):
    replica = copy.deepcopy(unet)
    rows = {"unet": 0, "replica": 0}
    hooks = [
        network.conv_in.register_forward_pre_hook(lambda _, given, name=name: rows.update({name: len(given[0])}))
        for name, network in (("unet", unet), ("replica", replica))
    ]
    run(unet, SamplingOptions(num_steps=1), replica)
    for hook in hooks:
        hook.remove()
    assert rows == {"unet": 3, "replica": 3}  # a row of three frames each


def test_an_error_on_the_first_device_stops_the_second(unet):
    replica = copy.deepcopy(unet)

    def fail(module, given):
        raise RuntimeError("first")

    hook = unet.conv_in.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="first"):
            run(unet, SamplingOptions(num_steps=1), replica)
    finally:
        hook.remove()
    assert not any(module._forward_pre_hooks for module in replica.modules())
