"""What the `xportrait2` pipeline refuses before it computes anything."""

from __future__ import annotations

from portrait_anim.errors import InputError, WeightsMissing
from portrait_anim.pipelines.motion import MotionSequence
from portrait_anim.pipelines.options import AnimationOptions
from portrait_anim.pipelines.xportrait2_options import SamplingOptions


def check_options(options: AnimationOptions) -> None:
    """Refuse options that would be ignored.

    Raises:
        InputError: If an option has not its default although the profile does not know it.
    """
    plain = AnimationOptions()
    names = ("motion", "expression_gain", "pose_gain", "regions", "smoothing")
    changed = [name for name in names if getattr(options, name) != getattr(plain, name)]
    if changed:
        raise InputError(
            f"expected the default of {', '.join(changed)}, as X-Portrait 2 does not separate parts of the motion; "
            "leave them out or use the profile 'lite'"
        )


def check_motion(motion: MotionSequence, tokens: tuple[int, int]) -> None:
    """Refuse motion of another profile.

    Args:
        motion: Motion of the driver.
        tokens: Number and width of the tokens that the networks take.

    Raises:
        InputError: If its tokens are not those.
    """
    if motion.latent.shape[1:] != tokens:
        raise InputError(
            f"expected motion of {tokens[0]} tokens of {tokens[1]} values, got {motion.latent.shape[1:]}; "
            "extract the motion with the profile 'xportrait2'"
        )


def check_decoder(sampling: SamplingOptions, preview_vae: object) -> None:
    """Refuse drafts without a decoder for them.

    Raises:
        WeightsMissing: If there is none.
    """
    if sampling.decoder == "tiny" and preview_vae is None:
        raise WeightsMissing(
            "expected a preview decoder for drafts, got none; put one, such as TAESD, into the folder 'preview_vae' "
            "beside the profile's networks, or use the decoder 'full'",
            files=["preview_vae"],
        )


def check_placement(sampling: SamplingOptions, *, offloaded: bool) -> None:
    """Refuse networks that work side by side while they take turns on the device.

    Raises:
        InputError: If windows are to be decoded and denoised at once.
    """
    if sampling.overlap and offloaded:
        raise InputError(
            "expected networks that stay on the device for decoding while the next window is denoised, got CPU "
            "offload; leave one of the two out"
        )
