"""Every exception this package raises on purpose.

::

    PortraitAnimError
    ├── InputError                what the user gave cannot be used
    │   ├── MediaError            file is not media, truncated, or cannot be written
    │   ├── NoFaceFound
    │   ├── MultipleFaces
    │   ├── FaceTooSmall
    │   ├── NotAHumanFace
    │   └── SceneScriptError      carries line and column
    ├── ConsentError              the gate said no, or cannot say yes
    │   ├── ConsentDenied         carries reason and grant id
    │   │   └── SourceRefused     a portrait or clip carries somebody else's mark
    │   ├── LivenessFailed        carries the failed steps
    │   ├── LedgerTampered
    │   └── DeliveryFailed
    ├── ProvenanceError
    │   ├── SigningError
    │   ├── WatermarkNotFound
    │   └── ManifestInvalid
    ├── ModelError
    │   ├── WeightsMissing
    │   ├── WeightsCorrupt        carries expected and actual checksum
    │   ├── ProfileUnavailable
    │   └── StateDictMismatch     carries every difference
    └── ExecutionError            work that was accepted could not be finished
        ├── NotEnoughMemory       carries bytes needed and available
        ├── ShotFailed            carries the shot id
        └── Cancelled

Messages follow one form: what was expected, what came, what to do. The same facts are attributes.
"""

from __future__ import annotations

from collections.abc import Sequence


class PortraitAnimError(Exception):
    """Base of all errors raised on purpose by `portrait_anim`."""


class InputError(PortraitAnimError):
    """Something the user supplied cannot be used."""


class MediaError(InputError):
    """A media file cannot be opened, decoded or written."""


class NoFaceFound(InputError):
    """No human face was found where one is needed."""


class MultipleFaces(InputError):
    """Several faces were found and the choice is ambiguous.

    Attributes:
        count: Number of faces found.
    """

    def __init__(self, message: str, *, count: int) -> None:
        super().__init__(message)
        self.count = count


class FaceTooSmall(InputError):
    """A face was found, but it has too few pixels.

    Attributes:
        size_px: Shorter side of the face box found [px].
        minimum_px: Smallest side that is accepted [px].
    """

    def __init__(self, message: str, *, size_px: float, minimum_px: float) -> None:
        super().__init__(message)
        self.size_px = size_px
        self.minimum_px = minimum_px


class NotAHumanFace(NoFaceFound):
    """Something face-like was found that is not a plausible human face."""


class SceneScriptError(InputError):
    """A scene script is not valid.

    Attributes:
        line: 1-based line in the script, or `None` when unknown.
        column: 1-based column in the script, or `None` when unknown.
    """

    def __init__(self, message: str, *, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class ConsentError(PortraitAnimError):
    """The consent gate refuses, or cannot establish that it may allow."""


class ConsentDenied(ConsentError):
    """The gate refuses a request.

    Attributes:
        reason: Short machine-readable reason, such as `"revoked"`.
        grant_id: The grant that was looked at, when there was one.
    """

    def __init__(self, message: str, *, reason: str, grant_id: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.grant_id = grant_id


class SourceRefused(ConsentDenied):
    """A source portrait or driving clip carries a mark that forbids this use.

    Attributes:
        reason: `"foreign_mark"`, `"do_not_animate"` or `"do_not_train"`.
        source: Name of the file.
    """

    def __init__(self, message: str, *, reason: str, source: str) -> None:
        super().__init__(message, reason=reason)
        self.source = source


class LivenessFailed(ConsentError):
    """A challenge video does not prove that the person was present.

    Attributes:
        failures: One plain sentence per failed check.
    """

    def __init__(self, message: str, *, failures: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.failures = tuple(failures)


class LedgerTampered(ConsentError):
    """The hash chain of the ledger does not hold.

    Attributes:
        row: Sequence number of the first row that does not verify.
    """

    def __init__(self, message: str, *, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


class DeliveryFailed(ConsentError):
    """A notification could not be delivered now; it stays in the outbox and is tried again."""


class ProvenanceError(PortraitAnimError):
    """Marking, signing or verifying a file failed."""


class SigningError(ProvenanceError):
    """A file could not be signed."""


class WatermarkNotFound(ProvenanceError):
    """No invisible watermark was found."""


class ManifestInvalid(ProvenanceError):
    """A C2PA manifest is absent or does not match the file."""


class ModelError(PortraitAnimError):
    """A model cannot be loaded or used."""


class WeightsMissing(ModelError):
    """Weight files are not where the manifest says.

    Attributes:
        files: The missing files, relative to the weights folder.
    """

    def __init__(self, message: str, *, files: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.files = tuple(files)


class WeightsCorrupt(ModelError):
    """A weight file does not have the checksum of the manifest.

    Attributes:
        expected: Expected sha256, hexadecimal.
        actual: Computed sha256, hexadecimal.
    """

    def __init__(self, message: str, *, expected: str, actual: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class ProfileUnavailable(ModelError):
    """The profile asked for does not exist or is not installed."""


class StateDictMismatch(ModelError):
    """A checkpoint does not have exactly the parameters of the model.

    Attributes:
        problems: One plain sentence per tensor that is wrong.
    """

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class ExecutionError(PortraitAnimError):
    """Work that was accepted could not be finished."""


class ShotFailed(ExecutionError):
    """One shot of a scene could not be rendered.

    Attributes:
        shot_id: Identifier of the shot in the script.
    """

    def __init__(self, message: str, *, shot_id: str) -> None:
        super().__init__(message)
        self.shot_id = shot_id


class NotEnoughMemory(ExecutionError):
    """The device cannot hold what a render needs.

    Attributes:
        needed: Bytes needed.
        available: Bytes that the device has.
    """

    def __init__(self, message: str, *, needed: int, available: int) -> None:
        super().__init__(message)
        self.needed = needed
        self.available = available


class Cancelled(ExecutionError):
    """The user stopped the work; nothing was written."""
