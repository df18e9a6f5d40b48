"""What an operator may set about provenance: one small file in the home folder, `provenance.yaml`.

Without the file, files are signed with the installation's own certificate and the strict defaults hold. The file
cannot switch labels, marks or signatures off.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from portrait_anim.errors import ProvenanceError
from portrait_anim.provenance.label_pill import LabelSize, Language

SETTINGS_FILE: Final = "provenance.yaml"

SigningAlgorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]

_ENTRY: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_LARGEST_FILE: Final = 1 << 16


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SigningSettings(_Section):
    """Who signs.

    Attributes:
        certificate_chain: PEM file with the signer's certificate first; `None` is the installation's own authority.
        private_key: PEM file with its key, not encrypted.
        callback: `module:function`, which gets the bytes to sign and returns the raw signature: a key in an HSM or KMS.
        algorithm: Signature algorithm of the certificate's key.
        time_stamp_url: RFC 3161 time stamp server, asked once per file; `None` asks nobody.
        trusted: PEM files of more authorities whose files are trusted here.

    Relative paths are relative to the home folder.
    """

    certificate_chain: Path | None = None
    private_key: Path | None = None
    callback: str | None = None
    algorithm: SigningAlgorithm = "es256"
    time_stamp_url: str | None = None
    trusted: tuple[Path, ...] = ()

    @field_validator("callback")
    @classmethod
    def _is_entry(cls, value: str | None) -> str | None:
        if value is not None and _ENTRY.fullmatch(value) is None:
            raise ValueError("give it as module:function, for example my_company.kms:sign")
        return value

    @field_validator("time_stamp_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("give the address of a time stamp server, beginning with http:// or https://")
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> SigningSettings:
        keys = (self.private_key is not None) + (self.callback is not None)
        if self.certificate_chain is None and keys:
            raise ValueError("private_key and callback need the certificate_chain that belongs to them")
        if self.certificate_chain is not None and keys != 1:
            raise ValueError("certificate_chain needs exactly one of private_key and callback")
        return self


class IngestionSettings(_Section):
    """What is done with source pictures and clips that carry marks of others.

    Attributes:
        foreign_mark: They show, by manifest or watermark, another cameo than the one asked for.
        do_not_animate: Their maker does not allow use by AI (`ai_inference` or `animate` not allowed, or constrained).
        do_not_train: Their maker does not allow training or data mining; a render does neither.
    """

    foreign_mark: Literal["refuse", "allow"] = "refuse"
    do_not_animate: Literal["refuse", "allow"] = "refuse"
    do_not_train: Literal["refuse", "allow"] = "allow"


class LabelSettings(_Section):
    """How the visible label looks.

    Attributes:
        language: Language of its words.
        smallest: Smallest size; a grant may ask for a larger one.
    """

    language: Language = "en"
    smallest: LabelSize = "small"


class ProvenanceSettings(_Section):
    """Everything that `provenance.yaml` may hold.

    Attributes:
        signing: Who signs.
        ingestion: What is done with marked sources.
        label: How the visible label looks.
    """

    signing: SigningSettings = SigningSettings()
    ingestion: IngestionSettings = IngestionSettings()
    label: LabelSettings = LabelSettings()


def load_settings(home: Path) -> ProvenanceSettings:
    """Read the operator's settings.

    Args:
        home: The installation's home folder.

    Returns:
        The settings, paths made absolute; the defaults when there is no file.

    Raises:
        ProvenanceError: If the file cannot be read or holds anything else than known settings.
    """
    path = home / SETTINGS_FILE
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        return ProvenanceSettings()
    except OSError as error:
        raise ProvenanceError(
            f"expected readable settings in {path}, got: {error.strerror or error}; correct its permissions"
        ) from error
    if len(text) > _LARGEST_FILE:
        raise ProvenanceError(f"expected settings of at most 64 KiB in {path}, got more; it is the wrong file")
    try:
        settings = ProvenanceSettings.model_validate(yaml.safe_load(text.decode()) or {})
    except (ValidationError, yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise ProvenanceError(
            f"expected known settings in {path}, got {_problem(error)}; see docs/PROVENANCE.md for what it may hold"
        ) from error
    signing = settings.signing.model_copy(
        update={
            "certificate_chain": _absolute(home, settings.signing.certificate_chain),
            "private_key": _absolute(home, settings.signing.private_key),
            "trusted": tuple(home / item for item in settings.signing.trusted),
        }
    )
    return settings.model_copy(update={"signing": signing})


def _absolute(home: Path, path: Path | None) -> Path | None:
    return None if path is None else home / path


def _problem(error: Exception) -> str:
    """The first thing that is wrong, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        return f"at {place}: {first['msg']}"
    return " ".join(str(error).split())
