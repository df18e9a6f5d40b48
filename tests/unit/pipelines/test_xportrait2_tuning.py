"""Compiled blocks compute what plain ones do; without a compiler that is said before anything is loaded or computed."""

import shutil

import pytest
import torch
from torch import nn

from portrait_anim.errors import ModelError
from portrait_anim.models.xportrait2.transformers import TemporalTransformer
from portrait_anim.pipelines.xportrait2_tuning import compile_blocks, tune


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own imports
def test_a_compiled_block_computes_what_the_plain_one_does():
    torch.manual_seed(0)
    block = TemporalTransformer(32, 2).eval()
    nn.init.normal_(block.proj_out.weight, std=0.3)
    sample = torch.randn(3, 32, 4, 4)
    with torch.inference_mode():
        plain = block(sample, 3)
        compile_blocks(nn.ModuleList([block]))
        compiled = block(sample, 3)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)
    assert not torch.equal(compiled, sample)


def test_a_missing_compiler_is_said_before_anything_is_changed(xportrait2, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ModelError, match=r"C\+\+ compiler"):
        tune(xportrait2, channels_last=False, compiled=True)
    assert not xportrait2.is_compiled
