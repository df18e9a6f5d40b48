"""Networks, as diffusers models.

diffusers stores the module of every component in `model_index.json` and expects `ModelMixin` in that module's
namespace, so the public classes say they live here: files may move, checkpoints still load.
"""

from diffusers import ModelMixin

from portrait_anim.models.lite.denoiser import LiteDenoiser
from portrait_anim.models.lite.motion_encoder import LiteMotionEncoder
from portrait_anim.models.lite.reference_encoder import LiteReferenceEncoder
from portrait_anim.models.lite.warp import LiteWarpField
from portrait_anim.models.xportrait2.denoising_unet import XPortrait2DenoisingUNet
from portrait_anim.models.xportrait2.image_encoder import XPortrait2ImageEncoder
from portrait_anim.models.xportrait2.motion_encoder import XPortrait2MotionEncoder
from portrait_anim.models.xportrait2.reference_unet import XPortrait2ReferenceUNet

for _model in (
    LiteDenoiser,
    LiteMotionEncoder,
    LiteReferenceEncoder,
    LiteWarpField,
    XPortrait2DenoisingUNet,
    XPortrait2ImageEncoder,
    XPortrait2MotionEncoder,
    XPortrait2ReferenceUNet,
):
    _model.__module__ = __name__

__all__ = [
    "LiteDenoiser",
    "LiteMotionEncoder",
    "LiteReferenceEncoder",
    "LiteWarpField",
    "ModelMixin",
    "XPortrait2DenoisingUNet",
    "XPortrait2ImageEncoder",
    "XPortrait2MotionEncoder",
    "XPortrait2ReferenceUNet",
]
