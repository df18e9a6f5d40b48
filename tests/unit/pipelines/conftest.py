"""Tiny networks of the `xportrait2` profile in its pipeline, a portrait, and the gate's own permits for it."""

from datetime import datetime, timedelta, timezone

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder, DDIMScheduler

from portrait_anim.consent import permit as gate
from portrait_anim.consent.grants import grant
from portrait_anim.consent.store import open_store
from portrait_anim.enrolment import enroll_fictional_from_file
from portrait_anim.face.detect import FaceDetector, find_face
from portrait_anim.face.identity import load_identity_encoder
from portrait_anim.media.image import pixel_digest, read_image
from portrait_anim.models import (
    XPortrait2DenoisingUNet,
    XPortrait2ImageEncoder,
    XPortrait2MotionEncoder,
    XPortrait2ReferenceUNet,
)
from portrait_anim.models.xportrait2.adapter import DDIM_CONFIG, SVD_VAE_CONFIG
from portrait_anim.pipelines.xportrait2 import XPortrait2Pipeline
from portrait_anim.weights import samples_dir

UNET = {"block_channels": (32, 32, 32, 32), "heads": 2, "context_dim": 8}
NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="session")
def xportrait2():
    torch.manual_seed(0)
    built = XPortrait2Pipeline(
        motion_encoder=XPortrait2MotionEncoder(
            sample_size=64, channels=128, depth=2, attention_dim=16, attention_heads=2, num_maps=4, feature_dim=8,
            placement_dim=4, num_tokens=4, token_dim=4,
        ).eval(),
        reference_unet=XPortrait2ReferenceUNet(**UNET).eval(),
        denoising_unet=XPortrait2DenoisingUNet(motion_dim=4, **UNET).eval(),
        vae=AutoencoderKLTemporalDecoder(
            **SVD_VAE_CONFIG | {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1}
        ).eval(),
        image_encoder=XPortrait2ImageEncoder(
            sample_size=28, channels=8, depth=1, heads=2, hidden_dim=8, projection_dim=8
        ).eval(),
        scheduler=DDIMScheduler(**DDIM_CONFIG),
    )  # fmt: skip
    _wake(built.denoising_unet)
    built.set_progress_bar_config(disable=True)
    return built


@pytest.fixture(scope="module")
def unet():
    """A tiny denoiser whose motion modules, which start at zero, do something."""
    torch.manual_seed(0)
    net = XPortrait2DenoisingUNet(motion_dim=4, **UNET).eval()
    _wake(net)
    return net


def _wake(net):
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            if "modules" in name and name.endswith("proj_out.weight"):
                tensor.normal_(std=0.3)


@pytest.fixture(scope="session")
def portrait():
    return read_image(samples_dir() / "portrait.jpg")


@pytest.fixture(scope="session")
def give_permit(tmp_path_factory, portrait):
    """Ask the gate for a permit for the sample actor, who does not exist."""
    home = tmp_path_factory.mktemp("home")
    terms = {
        "grantee": "operator", "purpose": "test", "allowed_contexts": ["animate"],
        "expires": NOW + timedelta(hours=1), "max_renders": 5, "max_seconds": 60.0, "now": NOW,
    }  # fmt: skip
    with open_store(home) as store, FaceDetector() as detector:
        cameo = enroll_fictional_from_file(
            store, portrait=samples_dir() / "portrait.jpg", name="Actor", statement="Does not exist.", now=NOW
        )
        grant(store, cameo.id, **terms)
        embedding = load_identity_encoder("auto").embed(portrait, find_face(portrait, detector, None))

    def ask(profile):
        request = gate.RenderRequest(
            cameo_id=cameo.id, portrait_digest=pixel_digest(portrait), portrait_embedding=embedding,
            grantee="operator", purpose="test", context="animate", duration_s=0.2, profile=profile,
        )  # fmt: skip
        with open_store(home) as store:
            return gate.authorise(store, request, now=NOW)

    return ask
