"""A mirrored face is read as the mirror image of what the face is read as."""

import torch

from portrait_anim.models import LiteMotionEncoder
from portrait_anim.models.lite.both_sides import encode_both_sides, mirrored_coefficients
from portrait_anim.models.lite.expressions import EXPRESSIONS, ExpressionHeads


@torch.no_grad()
def test_mirrored_faces_give_mirrored_motion():
    torch.manual_seed(0)
    encoder = LiteMotionEncoder(sample_size=32, channels=(8,) * 5, blocks=(0,) * 5, fine_channels=4).eval()
    heads = ExpressionHeads()
    faces = torch.rand(3, 3, 32, 32) * 2 - 1
    here, there = (encode_both_sides(encoder, heads, f) for f in (faces, faces.flip(-1)))
    close = {"atol": 1e-3, "rtol": 1e-3}
    torch.testing.assert_close(heads(there.latent), mirrored_coefficients(heads(here.latent)), **close)
    torch.testing.assert_close(there.rotation, here.rotation * torch.tensor([-1.0, 1.0, -1.0]), **close)
    torch.testing.assert_close(there.placement, here.placement * torch.tensor([-1.0, 1.0, 1.0]), **close)
    single = heads(encoder(faces).latent)
    assert (heads(here.latent) - single).abs().max() > 0.01  # one reading alone takes sides


def test_mirroring_swaps_sides_and_turns_the_gaze():
    coefficients = torch.zeros(1, 55)
    coefficients[0, EXPRESSIONS.index("eyeBlink_L")] = 1.0
    coefficients[0, 53:] = torch.tensor([0.5, 0.2])
    mirrored = mirrored_coefficients(coefficients)
    assert mirrored[0, EXPRESSIONS.index("eyeBlink_R")] == 1.0
    assert mirrored[0, EXPRESSIONS.index("eyeBlink_L")] == 0.0
    assert mirrored[0, 53:].tolist() == [-0.5, torch.tensor(0.2).item()]
    torch.testing.assert_close(mirrored_coefficients(mirrored), coefficients)
