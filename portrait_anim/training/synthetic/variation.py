"""More people from the same photographs: other head shapes, skin tones, hair colours, backgrounds and light.

A variation is shared by the pictures of one person. Where a sample holds the untouched photograph of somebody, that
person stays as photographed; drivers and pairs of two renders can be anybody. Geometry changes through the identity
shapes, so that correspondence with the photograph stays exact; colours change by factors whose logarithms are drawn,
after everything is composed.

Shape legend: N varied people, W picture side [px].
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from portrait_anim.training.synthetic.camera import FRAME, constant
from portrait_anim.training.synthetic.glasses import SHARE, draw_glasses, no_glasses
from portrait_anim.training.synthetic.people import People
from portrait_anim.training.synthetic.shading import box_blur, luminance

_SHAPE_NOISE: Final = 0.40  # of every identity coefficient, whose natural deviation is 1
_SHAPE_BLEND: Final = 0.50  # at most this far towards, or half as far away from, somebody else
_MELANIN_RGB: Final = (-0.62, -0.82, -1.0)  # logarithm of the colour per unit of darker skin
_BLOOD_RGB: Final = (0.25, -0.55, -0.45)
_DARKEST, _LIGHTEST = 0.16, 0.80  # brightness of skin that the drawn tone does not leave
_DRIFT: Final = (0.06, 0.012)  # deviation of brightness and of colour from one side of the photograph to the other
_ALIKE: Final = (0.60, 0.40)  # logarithm of darkness and of hue within which a pixel counts as skin
_TURNED_LIGHT: Final = 0.30  # share of the mean light that a new lamp may add from one side


@dataclass(frozen=True, kw_only=True, slots=True)
class Variation:
    """What is different about N people.

    Attributes:
        reshape: `(N, K)` identity coefficients to add.
        lamp: `(N, 9)` spherical harmonics of the light.
        skin: `(N, 3)` logarithm of the factor on skin.
        drift: `(N, 3, 4)` change of that over the photograph: by x, y, x y and x^2 - y^2, all from -1 to 1.
        hair: `(N, 3)` logarithm of the factor on hair and clothes.
        backdrop: `(N, 3)` logarithm of the factor on the background.
        glasses: `(N, 12)` what they wear; see `glasses.draw_glasses`.
    """

    reshape: Tensor
    lamp: Tensor
    skin: Tensor
    drift: Tensor
    hair: Tensor
    backdrop: Tensor
    glasses: Tensor

    def __len__(self) -> int:
        return len(self.reshape)

    def rows(self, index: Tensor) -> Variation:
        """The given rows."""
        return Variation(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def concatenate(parts: list[Variation]) -> Variation:
    """Several variations one after the other."""
    return Variation(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Variation)})


def untouched(people: People, who: Tensor) -> Variation:
    """The variation that changes nothing about `who` `(N,)`."""
    N = len(who)
    none = people.light.new_zeros
    return Variation(
        reshape=torch.zeros_like(people.identity[who]),
        lamp=people.lamp[who],
        skin=none(N, 3),
        drift=none(N, 3, 4),
        hair=none(N, 3),
        backdrop=none(N, 3),
        glasses=no_glasses(N, people.light),
    )


def choose(mask: Tensor, yes: Variation, no: Variation) -> Variation:
    """Per person, `yes` where `mask` `(N,)` is true, else `no`."""
    out = {}
    for f in fields(Variation):
        a, b = getattr(yes, f.name), getattr(no, f.name)
        out[f.name] = torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b)
    return Variation(**out)


def draw_variation(people: People, who: Tensor, generator: torch.Generator, *, strength: float = 1.0) -> Variation:
    """Draw how people differ from their photographs.

    Args:
        people: Everybody.
        who: `(N,)` rows.
        generator: Source of all randomness, on the device of `people`.
        strength: 1 is usual, 0 changes nothing.

    Returns:
        The variation of `who`.

    Raises:
        ValueError: If the strength is negative.
    """
    if strength < 0:
        raise ValueError(f"expected a strength of at least 0, got {strength}")
    N, K, device = len(who), people.identity.shape[1], people.light.device

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, device=device)

    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, device=device)

    def vector(*values: float) -> Tensor:
        return constant(values, device)

    somebody = torch.randint(len(people), (N,), generator=generator, device=device)
    towards = (uniform(N, 1) * 1.5 - 0.5) * _SHAPE_BLEND
    reshape = towards * (people.identity[somebody] - people.identity[who]) + _SHAPE_NOISE * normal(N, K)
    own = people.skin[who].mean(1, keepdim=True).clamp(0.05, 1).log()
    melanin = (0.24 * normal(N, 1)).clamp(-0.45, 0.55)
    melanin = torch.maximum(torch.minimum(melanin, own - vector(_DARKEST).log()), own - vector(_LIGHTEST).log())
    skin = melanin * vector(*_MELANIN_RGB) + (0.08 * normal(N, 1)).clamp(-0.08, 0.2) * vector(*_BLOOD_RGB)
    warm = vector(1.0, 0.0, -1.0)
    exposure, balance = 0.05 * normal(N, 1), 0.03 * normal(N, 1) * warm  # of the whole picture
    hair = (0.20 * normal(N, 1)).clamp(-0.4, 0.4) + (0.08 * normal(N, 1)).clamp(-0.2, 0.2) * warm
    backdrop = (0.25 * normal(N, 1)).clamp(-0.6, 0.5) + 0.08 * normal(N, 3)
    scale, both = strength, exposure + balance
    glasses = draw_glasses(N, generator, device, share=min(1.0, strength) * SHARE)
    glasses[:, 0] *= ~people.spectacled[who]  # nobody wears two
    return Variation(
        reshape=scale * reshape,
        lamp=_turned_light(people.lamp[who], normal(N, 3), uniform(N, 2), scale),
        skin=scale * (skin + both),
        drift=scale * (_DRIFT[0] * normal(N, 1, 4) + _DRIFT[1] * normal(N, 3, 4)),
        hair=scale * (hair + both),
        backdrop=scale * (backdrop + both),
        glasses=glasses,
    )


def _turned_light(light: Tensor, towards: Tensor, share: Tensor, scale: float) -> Tensor:
    """Light `(N, 9)` with weaker sides of its own and a new lamp, as bright as before on what faces the camera."""
    lamp = F.normalize(towards * constant((1.0, 0.6, 0.3), towards) + constant((0.0, 0.25, 0.6), towards), dim=1)
    keep = 1 - 0.6 * min(scale, 1.0) * share[:, :1]
    new = torch.cat([light[:, :1], light[:, 1:] * keep], 1)
    new[:, 1:4] += lamp * (scale * _TURNED_LIGHT * share[:, 1:] * light[:, :1])
    front = F.normalize(constant(((0.0, 0.1, 1.0),), light), dim=1).expand(len(light), 1, 3)
    return new * (luminance(front, light) / luminance(front, new))


def vary(people: People, who: Tensor, variation: Variation) -> People:
    """The people `who` `(N,)` with other shapes and light, one row each."""
    chosen = people.rows(who)
    return replace(chosen, reshape=chosen.reshape + variation.reshape, lamp=variation.lamp)


def recolour(
    variation: Variation, image: Tensor, source: Tensor, person: Tensor, opening: Tensor, skin: Tensor
) -> Tensor:
    """Change the colours of pictures.

    Args:
        variation: What is different, one row per picture.
        image: `(B, 3, W, W)` in [0, 1].
        source: `(B, W, W, 2)` position in the photograph of what each pixel shows [photo units].
        person: `(B, 1, W, W)` 1 on the person, 0 on the background.
        opening: `(B, 1, W, W)` 1 on eyes and in the mouth, whose colour is kept.
        skin: `(B, 3)` photographed colour of the skin in [0, 1].

    Returns:
        `(B, 3, W, W)`.
    """
    x, y = (source * (2 / FRAME) - 1).clamp(-1, 1).permute(3, 0, 1, 2)
    drift = torch.einsum("bcd,dbhw->bchw", variation.drift, torch.stack([x, y, x * y, x * x - y * y]))
    off = image.clamp(0.02, 1).log() - skin.clamp(0.05, 1).log()[:, :, None, None]
    light = off.mean(1, keepdim=True)
    hue = (off - light).square().sum(1, keepdim=True)
    alike = torch.exp(-((light.clamp(max=0) / _ALIKE[0]) ** 2) - hue / _ALIKE[1] ** 2)  # highlights are skin
    alike = box_blur(alike, 2 * (image.shape[-1] // 100) + 1)
    on_skin = variation.skin[:, :, None, None] + drift
    on_hair = variation.hair[:, :, None, None] * (1 - opening)
    change = torch.lerp(on_hair, on_skin, alike * (1 - opening))
    change = torch.lerp(variation.backdrop[:, :, None, None].expand_as(change), change, person)
    factor = change.exp()
    return image * factor / (1 + image.clamp(0, 1) * (factor - 1).clamp(min=0))  # brightening keeps highlights below 1
