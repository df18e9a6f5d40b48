"""Published names and ours: a bijection with the manifests, and files that are refused."""

import pytest
import torch

from portrait_anim.errors import StateDictMismatch
from portrait_anim.models import XPortrait2DenoisingUNet, XPortrait2MotionEncoder
from portrait_anim.models.xportrait2.adapter import (
    PUBLISHED,
    from_published,
    key_map,
    load_published,
    to_published,
)


@pytest.fixture
def tiny_unet(tiny_modules):
    return tiny_modules["denoising_unet"]


@pytest.fixture
def tiny_file(tiny_unet, seeded):
    """What a published file of the tiny network would hold."""
    return to_published(tiny_unet, seeded(XPortrait2DenoisingUNet, **tiny_unet.config).state_dict())


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_names_and_shapes_are_those_of_the_manifest(parity, name):
    module = PUBLISHED[name]
    names = key_map(module)
    ours = {names[key]: list(tensor.shape) for key, tensor in module.build("meta").state_dict().items()}
    assert len(ours) == len(names)
    assert ours == {key: entry["shape"] for key, entry in parity.manifest(name).items()}


def test_a_file_goes_there_and_back(tiny_unet, tiny_file):
    network = load_published(tiny_unet, tiny_file)
    again = to_published(tiny_unet, network.state_dict())
    assert again.keys() == tiny_file.keys()
    assert all(torch.equal(again[key], tiny_file[key]) for key in again)


def test_frame_positions_may_be_left_out_of_a_file(tiny_unet, tiny_file):
    without = {key: tensor for key, tensor in tiny_file.items() if not key.endswith("pos_encoder.pe")}
    assert len(without) == len(tiny_file) - 42
    state = from_published(tiny_unet, without)
    network = tiny_unet.build()
    assert state.keys() == network.state_dict().keys()
    name = "mid_block.temporal_modules.0.attentions.1.positions"
    assert torch.equal(state[name], network.state_dict()[name])


def test_every_difference_is_listed(tiny_unet, tiny_file):
    lost, bent = "conv_in.weight", "conv_out.bias"
    broken = "time_embedding.linear_1.bias"
    dead = "up_blocks.1.motion_modules.2.temporal_transformer.proj_out.weight"
    tiny_file["extra"] = torch.zeros(1)
    del tiny_file[lost]
    tiny_file[bent] = torch.zeros(5)
    tiny_file[broken] = torch.full_like(tiny_file[broken], float("nan"))
    tiny_file[dead] = torch.zeros_like(tiny_file[dead])
    with pytest.raises(StateDictMismatch, match="5 differences") as caught:
        from_published(tiny_unet, tiny_file)
    assert sorted(caught.value.problems) == sorted(
        [
            f"missing: {lost}",
            "unknown: extra",
            f"shape: {bent} is (5,), expected (4,)",
            f"not finite: {broken}",
            f"untrained: {dead} is all zero, so its module does nothing",
        ]
    )


def test_an_untrained_network_is_refused(tiny_unet):
    state = to_published(tiny_unet, XPortrait2DenoisingUNet(**tiny_unet.config).state_dict())
    with pytest.raises(StateDictMismatch) as caught:
        load_published(tiny_unet, state)
    assert len(caught.value.problems) == 42


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_file_of_zeros_is_refused_whichever_network(tiny_modules, name):
    module = tiny_modules[name]
    state = to_published(module, module.build().state_dict())
    zeros = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
    with pytest.raises(StateDictMismatch, match="untrained"):
        from_published(module, zeros)


def test_the_file_of_another_network_is_refused(tiny_file):
    with pytest.raises(StateDictMismatch, match="motion_encoder"):
        from_published(PUBLISHED["motion_encoder"], tiny_file)
    with pytest.raises(StateDictMismatch, match="missing"):
        to_published(PUBLISHED["motion_encoder"], {})


def test_our_classes_are_found_under_the_name_that_checkpoints_carry():
    assert XPortrait2MotionEncoder.__module__ == "portrait_anim.models"
