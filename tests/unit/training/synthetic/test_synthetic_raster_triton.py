"""The Triton kernels draw what the torch path draws: here through Triton's interpreter, marked `gpu` on a device.

Triton decides when it is imported whether it interprets, so that this happens in a process of its own.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from portrait_anim.training.synthetic.raster import has_kernels, interpolate, rasterize

COMPARE = """
import torch
from portrait_anim.training.synthetic import raster

def scene(B, V, T, size, spread, seed):
    g = torch.Generator().manual_seed(seed)
    xy = torch.rand(B, V, 2, generator=g) * (max(size) + 8) - 4
    middle = torch.randint(0, V, (T,), generator=g)
    tris = torch.stack([middle, (middle + 1) % V, torch.randint(0, V, (T,), generator=g)], 1)
    xy[:, tris[:, 1]] = xy[:, tris[:, 0]] + torch.randn(B, T, 2, generator=g) * spread
    depth = torch.rand(B, V, generator=g) + 1
    plane = torch.randint(0, 2, (T,), generator=g)
    return xy, depth, tris, plane

total = differ = drawn = 0
scenes = [(2, 90, 75, (24, 40), 4.0), (1, 30, 33, (32, 32), 12.0), (3, 9, 1, (9, 7), 3.0)]
for seed, (B, V, T, size, spread) in enumerate(scenes):
    xy, depth, tris, plane = scene(B, V, T, size, spread, seed)
    values = torch.cat([xy, depth[..., None]], -1)
    results = []
    for kernels in (False, True):
        raster.has_kernels = lambda device, kernels=kernels: kernels
        ids, equations = raster.rasterize(xy, depth, tris, size, plane=plane, planes=2)
        results.append((ids, raster.interpolate(values, ids[:, 1], equations, tris)))
    (ids, out), (kernel_ids, kernel_out) = results
    assert kernel_ids.shape == ids.shape and kernel_ids.dtype == ids.dtype
    same = ids == kernel_ids
    total += same.numel(); differ += int((~same).sum()); drawn += int((ids >= 0).sum())
    assert torch.allclose(out[same[:, 1]], kernel_out[same[:, 1]], rtol=1e-5, atol=1e-4)
assert drawn > 1000, drawn
assert differ <= total // 1000, (differ, total)
# triangles without area, outside the picture, and a picture given to write into
xy = torch.tensor([[[1.0, 1.0], [5.0, 5.0], [9.0, 9.0], [-9.0, -9.0], [-3.0, -9.0], [-9.0, -3.0]]])
tris = torch.tensor([[0, 1, 2], [3, 4, 5]])
ids, equations = raster.rasterize(xy, torch.ones(1, 6), tris, (16, 16))
assert (ids == -1).all()
kept = raster.interpolate(torch.zeros(1, 6, 3), ids[:, 0], equations, tris, out=torch.full((1, 16, 16, 3), 7.0))
assert (kept == 7).all()
print("agree", drawn)
"""

COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from portrait_anim.training.synthetic import raster_triton

def compiled(kernel, pointers, numbers, constants):
    types = {name: "i32" for name in numbers} | dict.fromkeys(constants, "constexpr")
    source = triton.compiler.ASTSource(kernel, signature=pointers | types, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False})

drawing = {"keys": "*i64", "equations": "*fp32", "first": "*i64", "last": "*i64", "plane": "*i64"}
drawn = compiled(raster_triton.draw_kernel, drawing, "TPHW", {"BLOCK": 16})
assert "min.s64" in drawn.asm["ptx"]  # an atomic minimum of the device
assert "fma.rn.f32" not in drawn.asm["ptx"]  # which would round otherwise than torch
filling = {"attributes": "*fp32", "tri_id": "*i64", "equations": "*fp32", "tris": "*i64", "out": "*fp32"}
filled = compiled(raster_triton.interpolate_kernel, filling, "VTHW", {"C": 11, "CHANNELS": 16, "BLOCK": 256})
assert filled.asm["cubin"]
print("compiled")
"""


@pytest.fixture(scope="module")
def triton() -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs Triton, which torch brings on CUDA machines (pip install triton)")


def run(script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.usefixtures("triton")
def test_kernels_agree_with_torch_in_the_interpreter() -> None:
    assert run(COMPARE, TRITON_INTERPRET="1").startswith("agree")


@pytest.mark.slow
@pytest.mark.usefixtures("triton")
def test_kernels_compile_for_a_device_that_is_not_there(tmp_path: Path) -> None:
    """The interpreter runs what the compiler refuses."""
    assert run(COMPILE, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path)).startswith("compiled")


def test_other_devices_have_no_kernels() -> None:
    assert not has_kernels(torch.device("cpu"))
    assert not has_kernels(torch.device("meta"))


@pytest.mark.gpu
@pytest.mark.usefixtures("triton")
def test_kernels_agree_with_torch_on_cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    g = torch.Generator().manual_seed(3)
    xy = torch.rand(4, 600, 2, generator=g) * 140 - 6
    depth = torch.rand(4, 600, generator=g) + 1
    tris = torch.randint(0, 600, (900, 3), generator=g)
    plane = torch.randint(0, 2, (900,), generator=g)
    ids, equations = rasterize(xy, depth, tris, (128, 96), plane=plane, planes=2)
    given = [t.cuda() for t in (xy, depth, tris)]
    cuda_ids, cuda_equations = rasterize(*given, (128, 96), plane=plane.cuda(), planes=2)
    same = ids == cuda_ids.cpu()
    assert same.float().mean() > 0.999
    values = torch.cat([xy, depth[..., None]], -1)
    out = interpolate(values, ids[:, 0], equations, tris)
    cuda_out = interpolate(values.cuda(), cuda_ids[:, 0], cuda_equations, tris.cuda()).cpu()
    assert torch.allclose(out[same[:, 0]], cuda_out[same[:, 0]], rtol=1e-3, atol=1e-2)
