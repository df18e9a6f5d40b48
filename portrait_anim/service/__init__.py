"""The consent service: people enrol from a phone, owners manage their cameos, remote workers ask before they render."""

from portrait_anim.service.app import create_app
from portrait_anim.service.context import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
