"""Teaching the branch that reads tongues: it learns, and nothing else of the encoder changes."""

import itertools

import torch

from portrait_anim.models import LiteMotionEncoder
from portrait_anim.training.stages import STAGES
from portrait_anim.training.state import start
from portrait_anim.training.tongue import measure, teach, tongue_crops


def faces(count=4):
    """Noise with a mouth in the middle, as stored samples of `synthetic.lip_edges`."""
    generator = torch.Generator().manual_seed(0)
    x = torch.linspace(-2.3, 2.3, 11)
    bow = 0.8 * (1 - (x / 2.3) ** 2)
    lips = torch.stack([torch.stack([x, -6 + side * bow, torch.full_like(x, -69.0)], 1) for side in (1, -1)])
    return {
        "picture": torch.randint(90, 130, (count, 3, 160, 160), generator=generator, dtype=torch.uint8),
        "lips": lips.repeat(count, 1, 1, 1),
        "head": torch.zeros(count, 3),
        "anchor": torch.tensor([0.0, 0.5, -71.0]).repeat(count, 1),
    }


def test_crops_show_tongues_and_say_so():
    image, shown = tongue_crops(faces(12), torch.Generator().manual_seed(0), 0.0)
    assert image.shape == (12, 3, 128, 128)
    out = shown[:, 0] > 0.3
    assert 0 < out.sum() < 12
    low = image[:, 0, 64:, 32:96].flatten(1)
    assert low[out].std(1).mean() > 1.3 * low[shown[:, 0] == 0].std(1).mean()


def test_only_the_branch_learns():
    torch.manual_seed(0)
    encoder = LiteMotionEncoder(channels=(8, 16, 16, 16, 16), blocks=(0,) * 5, fine_channels=4).eval()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    assert teach(encoder, itertools.repeat(faces()), None, minutes=0.01) > 0
    changed = {k for k, v in encoder.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all(k.startswith("tongue.") for k in changed)
    assert not encoder.training
    assert not any(module.training for module in encoder.modules())


def test_measure_is_the_same_every_time():
    torch.manual_seed(0)
    encoder = LiteMotionEncoder(channels=(8, 16, 16, 16, 16), blocks=(0,) * 5, fine_channels=4).eval()
    first, second = (measure(encoder, itertools.repeat(faces(16)), 1) for _ in range(2))
    assert first == second


def test_training_the_encoder_leaves_the_tongues_reader_alone(tmp_path):
    settings = {"batch_size": 2, "learning_rate": 1e-3}
    state = start(STAGES["motion"], tmp_path, device=torch.device("cpu"), initial=None, settings=settings)
    reader = state.nets.motion_encoder.tongue
    assert not any(p.requires_grad for p in reader.parameters())
    assert not any(module.training for module in reader.modules())  # or its means would drift
    assert any(p.requires_grad for p in state.nets.motion_encoder.parameters())
