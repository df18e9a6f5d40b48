"""Adapters change exactly the layers they name, by exactly what they say, and can be taken out."""

import pytest
import torch
from safetensors.torch import save_file

from portrait_anim.errors import StateDictMismatch
from portrait_anim.models import XPortrait2ReferenceUNet
from portrait_anim.models.xportrait2.lora import merge_lora

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "down_blocks.0.attentions.0.proj_in"


@pytest.fixture
def unet(seeded):
    return seeded(XPortrait2ReferenceUNet, block_channels=(32, 32, 32, 32), heads=2, context_dim=8)


@pytest.fixture
def save(tmp_path):
    def go(tensors):
        save_file(tensors, tmp_path / "adapter.safetensors")
        return tmp_path / "adapter.safetensors"

    return go


def test_weights_change_by_the_product_and_come_back(unet, save):
    down, up = torch.randn(2, 32), torch.randn(32, 2)
    path = save({
        f"base_model.model.{LAYER}.lora_A.weight": down, f"base_model.model.{LAYER}.lora_B.weight": up,
        f"{CONV}.lora_down.weight": down[:, :, None, None].clone(), f"{CONV}.lora_up.weight": up.clone(),
        f"{CONV}.alpha": torch.tensor(1.0),
    })  # fmt: skip
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    restore = merge_lora(unet, path, strength=0.5)
    after = unet.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"{LAYER}.weight", f"{CONV}.weight"}
    torch.testing.assert_close(after[f"{LAYER}.weight"] - before[f"{LAYER}.weight"], 0.5 * up @ down)
    torch.testing.assert_close(
        (after[f"{CONV}.weight"] - before[f"{CONV}.weight"])[:, :, 0, 0], 0.25 * up @ down, rtol=1e-4, atol=1e-5
    )
    restore()
    assert all(torch.equal(before[name], tensor) for name, tensor in unet.state_dict().items())


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"nowhere.lora_A.weight": torch.ones(2, 32), "nowhere.lora_B.weight": torch.ones(32, 2)}, "unknown layer"),
        ({f"{LAYER}.lora_A.weight": torch.ones(2, 32)}, "half of an adapter"),
        ({f"{LAYER}.lora_A.weight": torch.ones(2, 8), f"{LAYER}.lora_B.weight": torch.ones(32, 2)}, "wrong shape"),
        ({f"{LAYER}.weight": torch.ones(32, 32)}, "expected keys"),
    ],
)
def test_files_that_do_not_fit_change_nothing(unet, save, tensors, message):
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    with pytest.raises(StateDictMismatch, match=message):
        merge_lora(unet, save(tensors))
    assert all(torch.equal(before[name], tensor) for name, tensor in unet.state_dict().items())
