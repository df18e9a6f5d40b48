"""Tiny networks filled by the rule for pseudo-random weights give the numbers that were recorded.

They were recorded by our own code in the state in which the full-size networks equalled the published ones (see
`tests/integration/test_xportrait2_golden.py`), so that a change of arithmetic is seen where those files are absent.
To record them anew, store what `numbers` returns in `recorded.json`, after the golden tests have passed.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from portrait_anim.evaluation.xportrait2_rule import rule_network

FILE = Path(__file__).parent / "recorded.json"
SHOWN = 12


def drawn(*shape, seed):
    """Numbers that do not depend on torch's generator."""
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(values)


@torch.inference_mode()
def numbers(modules):
    """Run all networks, each on what the one before gives."""
    encoder, reference, unet, vae, image = (
        rule_network(name, modules)
        for name in ("motion_encoder", "reference_unet", "denoising_unet", "vae", "image_encoder")
    )
    token = image(drawn(1, 3, 28, 28, seed=1))
    motion = encoder(drawn(3, 3, 64, 64, seed=2), torch.tensor([[0.0, 0.0, 1.0]] * 3)).latent
    taps = reference(drawn(1, 4, 16, 16, seed=3), token)
    rows = [
        unet.condition(torch.zeros_like(token), None, motion[:1]),
        unet.condition(token, taps, motion),
    ]
    noise = unet(drawn(4, 3, 16, 16, seed=4), torch.tensor(481), rows)
    video = vae.decode(drawn(3, 4, 8, 8, seed=5), num_frames=3).sample
    latent = vae.encode(drawn(1, 3, 64, 64, seed=6)).latent_dist.mean
    found = {"image token": token, "motion": motion, "tap 15": taps[15], "noise": noise, "video": video,
             "latent": latent}  # fmt: skip
    return {
        name: [float(tensor.mean()), float(tensor.std()), *tensor.flatten()[:SHOWN].tolist()]
        for name, tensor in found.items()
    }


@pytest.mark.parametrize("name", sorted(json.loads(FILE.read_text())))
def test_numbers_are_those_that_were_recorded(name, found):
    np.testing.assert_allclose(found[name], json.loads(FILE.read_text())[name], rtol=2e-4, atol=2e-5)


@pytest.fixture(scope="module")
def found(tiny_modules):
    return numbers(tiny_modules)
