"""Profiles: which networks make up a pipeline, at which sizes, where their weights are."""

from __future__ import annotations

from dataclasses import dataclass

from portrait_anim.errors import ProfileUnavailable


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileSpec:
    """One row of the profile table.

    Attributes:
        name: What users type.
        folder: Folder under `weights/`.
        motion_size_px: Side of the motion crop [px].
        portrait_size_px: Side of the portrait crop that the networks see [px].
        default_steps: Denoising steps when the user does not say.
        default_size_px: Output crop side when the user does not say [px].
        licence: SPDX identifier of the weights.
        shipped: Whether the weights come with the package; otherwise the user fetches and converts them.
    """

    name: str
    folder: str
    motion_size_px: int
    portrait_size_px: int
    default_steps: int
    default_size_px: int
    licence: str
    shipped: bool = True


PROFILES: dict[str, ProfileSpec] = {
    "lite": ProfileSpec(
        name="lite", folder="lite", motion_size_px=128, portrait_size_px=256,
        default_steps=2, default_size_px=256, licence="CC-BY-NC-SA-4.0",
    ),
    "xportrait2": ProfileSpec(
        name="xportrait2", folder="xportrait2", motion_size_px=224, portrait_size_px=512,
        default_steps=35, default_size_px=512, licence="CC-BY-NC-4.0", shipped=False,
    ),
}  # fmt: skip


def get_profile(name: str) -> ProfileSpec:
    """Look up a profile.

    Raises:
        ProfileUnavailable: If there is none of that name.
    """
    if name not in PROFILES:
        raise ProfileUnavailable(f"expected a profile among {', '.join(PROFILES)}, got {name!r}")
    return PROFILES[name]
