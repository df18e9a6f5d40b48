"""Settings of the whole suite, and the golden data of the published X-Portrait 2 model."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

# The same examples every time: a red test means that the change broke it.
# Search wider with --hypothesis-profile=default.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "xportrait2"


class Parity:
    """Golden files of the published model, and full-size networks filled by its rule for pseudo-random weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spec = importlib.util.spec_from_file_location("parity_weights", folder / "weights.py")
        assert spec is not None
        assert spec.loader is not None
        self.rule: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.rule)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / name) as file:
            return dict(file)

    def table(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def manifest(self, name: str) -> dict[str, dict]:
        return self.table(f"manifest_{name}.json")["keys"]

    def published(self, name: str) -> dict[str, Any]:
        """Tensors of a network as its file would hold them."""
        import torch

        from portrait_anim.models.xportrait2.attention import token_table

        state = {}
        for key, entry in self.manifest(name).items():
            if not entry.get("exempt_from_weights_rule"):
                state[key] = torch.from_numpy(np.asarray(self.rule.make(key, entry["shape"])))
            elif key == "pe":
                state[key] = token_table(*entry["shape"][1:])
            elif entry["dtype"] == "int64":
                state[key] = torch.zeros(entry["shape"], dtype=torch.int64)
        return state

    @staticmethod
    def error(got: Any, want: Any) -> float:
        """Root mean square error relative to the root mean square of what is wanted."""
        got, want = (np.asarray(value, np.float64) for value in (got, want))
        assert got.shape == want.shape
        return float(np.sqrt(((got - want) ** 2).mean()) / np.sqrt((want**2).mean()))


class SampleChallenge(Random):
    """A source of randomness that draws the movements which the sample video performs."""

    def sample(self, population: Sequence[Any], k: int, **_: Any) -> list[Any]:
        from portrait_anim.weights import samples_dir

        steps = json.loads((samples_dir() / "challenge.json").read_text())["actions"]
        return [step["action"] for step in steps][:k]


@pytest.fixture
def sample_challenge() -> Random:
    return SampleChallenge()


@pytest.fixture(scope="session")
def parity() -> Parity:
    if not GOLDEN.is_dir():
        pytest.skip("the golden data of the published model are not beside the repository (shared/xportrait2)")
    return Parity(GOLDEN)


@pytest.fixture(scope="session")
def tiny_modules() -> dict[str, Any]:
    """The published networks at a size that a test can afford."""
    from portrait_anim.evaluation.xportrait2_trial import trial_modules

    return trial_modules()


@pytest.fixture
def tiny_downloads(tmp_path: Path, tiny_modules: dict[str, Any]) -> Path:
    """Files of tiny networks in the places and forms of the published ones; no tensor is zero."""
    import torch
    from safetensors.torch import save_file

    from portrait_anim.models.xportrait2.adapter import to_published
    from portrait_anim.models.xportrait2.published import FILES

    torch.manual_seed(0)
    states = {}
    for name, module in tiny_modules.items():
        network = module.build()
        with torch.no_grad():
            for key, tensor in network.named_parameters():
                if not tensor.any():
                    tensor.normal_(std=0.2 if key.endswith("weight") else 0.02)
        states[name] = to_published(module, network.state_dict())
    unet = states["denoising_unet"]
    layers = {
        "xnemo_denoising_unet.pth": {key: value for key, value in unet.items() if "temporal_modules" not in key},
        "xnemo_temporal_module.pth": {
            key: value for key, value in unet.items() if "temporal_modules" in key and "pos_encoder" not in key
        },
    }
    for file in FILES:
        if file.needed:
            path = tmp_path / "downloads" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            state = layers.get(file.path, states[file.module])
            if path.suffix == ".safetensors":
                save_file({key: value.contiguous() for key, value in state.items()}, path)
            else:
                torch.save(state, path)
    return tmp_path / "downloads"
