"""Published files to a pipeline folder: tiny files of the real kinds, damaged ones, missing ones."""

import json
import pickle

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder
from safetensors.torch import load_file, save_file

from portrait_anim import weights
from portrait_anim.errors import StateDictMismatch, WeightsMissing
from portrait_anim.models import XPortrait2DenoisingUNet
from portrait_anim.models.xportrait2.adapter import PUBLISHED
from portrait_anim.models.xportrait2.convert import PROFILE, convert, read_tensors
from portrait_anim.models.xportrait2.fetch import fetch, licence_text
from portrait_anim.models.xportrait2.published import missing_files, require_files


def test_conversion_gives_a_verified_folder_that_diffusers_loads(tiny_downloads, tiny_modules, tmp_path):
    seen = []
    target = convert(tiny_downloads, tmp_path / "w", modules=tiny_modules, on_module=lambda name, *_: seen.append(name))
    assert seen == list(PUBLISHED)
    assert weights.require(PROFILE, tmp_path / "w") == target
    unet = XPortrait2DenoisingUNet.from_pretrained(target / "denoising_unet")
    original = torch.load(tiny_downloads / "xnemo_denoising_unet.pth", weights_only=True)
    assert torch.equal(unet.conv_in.weight, original["conv_in.weight"])
    assert isinstance(AutoencoderKLTemporalDecoder.from_pretrained(target / "vae"), torch.nn.Module)
    index = json.loads((target / "model_index.json").read_text())
    assert index["denoising_unet"] == ["portrait_anim.models", "XPortrait2DenoisingUNet"]
    assert index["vae"] == ["diffusers", "AutoencoderKLTemporalDecoder"]


def test_conversion_can_store_half_precision(tiny_downloads, tiny_modules, tmp_path):
    target = convert(tiny_downloads, tmp_path / "w", modules=tiny_modules, dtype=torch.float16)
    stored = load_file(target / "motion_encoder" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16, torch.int64}


def test_a_layer_that_was_left_untrained_is_refused(tiny_downloads, tiny_modules, tmp_path):
    path = tiny_downloads / "xnemo_temporal_module.pth"
    state = torch.load(path, weights_only=True)
    key = next(key for key in state if key.endswith("proj_out.weight"))
    torch.save(state | {key: torch.zeros_like(state[key])}, path)
    with pytest.raises(StateDictMismatch, match="untrained"):
        convert(tiny_downloads, tmp_path / "w", modules=tiny_modules)
    assert not (tmp_path / "w" / PROFILE / "denoising_unet").exists()


def test_a_file_in_the_wrong_place_is_refused(tiny_downloads, tiny_modules, tmp_path):
    other = (tiny_downloads / "xnemo_reference_unet.pth").read_bytes()
    (tiny_downloads / "xnemo_motion_encoder.pth").write_bytes(other)
    with pytest.raises(StateDictMismatch, match="motion_encoder"):
        convert(tiny_downloads, tmp_path / "w", modules=tiny_modules)


SWAPS = [
    ("xnemo_reference_unet.pth", "xnemo_denoising_unet.pth"),
    ("xnemo_motion_encoder.pth", "sd-image-variations-diffusers/image_encoder/pytorch_model.bin"),
]


@pytest.mark.parametrize(("one", "other"), SWAPS)
def test_swapped_files_are_refused(tiny_downloads, tiny_modules, tmp_path, one, other):
    first, second = (tiny_downloads / one).read_bytes(), (tiny_downloads / other).read_bytes()
    (tiny_downloads / one).write_bytes(second)
    (tiny_downloads / other).write_bytes(first)
    with pytest.raises(StateDictMismatch, match="differences"):
        convert(tiny_downloads, tmp_path / "w", modules=tiny_modules)


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.999])
def test_a_file_that_is_cut_off_is_refused(tmp_path, suffix, part):
    path, state = tmp_path / f"file{suffix}", {"a": torch.ones(100, 100)}
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    content = path.read_bytes()
    assert read_tensors(path).keys() == {"a"}
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(StateDictMismatch, match=r"cannot read .*download it again"):
        read_tensors(path)


class Malicious:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", pickle.dumps(Malicious(), protocol=2)])
def test_damaged_and_malicious_files_are_refused_without_running_them(tmp_path, content, capfd):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(StateDictMismatch, match="cannot read"):
        read_tensors(path)
    assert "executed" not in capfd.readouterr().out


def test_nested_dictionaries_and_broken_safetensors_are_refused(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "nested.pth")
    with pytest.raises(StateDictMismatch, match="flat dictionary"):
        read_tensors(tmp_path / "nested.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"\x10" * 40)
    with pytest.raises(StateDictMismatch, match="cannot read"):
        read_tensors(tmp_path / "broken.safetensors")


def test_missing_files_are_listed_with_source_and_place(tiny_downloads, tmp_path):
    assert missing_files(tiny_downloads) == []
    (tiny_downloads / "xnemo_temporal_module.pth").unlink()
    with pytest.raises(WeightsMissing) as caught:
        require_files(tiny_downloads)
    assert caught.value.files == ("xnemo_temporal_module.pth",)
    message = str(caught.value)
    assert str(tiny_downloads / "xnemo_temporal_module.pth") in message
    assert "drive.google.com" in message
    assert "CC BY-NC 4.0" in message
    with pytest.raises(WeightsMissing) as all_of_them:
        convert(tmp_path / "empty", tmp_path / "w")
    assert len(all_of_them.value.files) == 6


def test_nothing_is_fetched_before_the_licences_are_accepted(tmp_path):
    with pytest.raises(WeightsMissing, match="licences") as caught:
        fetch(tmp_path / "x", accepted=False)
    assert licence_text() in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_fetching_does_nothing_when_all_is_there(tiny_downloads):
    before = sorted(tiny_downloads.rglob("*"))
    fetch(tiny_downloads, accepted=True)
    assert sorted(tiny_downloads.rglob("*")) == before
