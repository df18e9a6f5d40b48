"""Join finished shots into one film: cuts, sound, one signature over all of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from portrait_anim.errors import MediaError
from portrait_anim.media.audio import read_audio
from portrait_anim.media.reader import VideoReader
from portrait_anim.media.timing import resample
from portrait_anim.media.writer import VideoWriter
from portrait_anim.provenance.claims import ManifestClaims
from portrait_anim.provenance.label import Labeller
from portrait_anim.provenance.label_pill import LabelSize, larger
from portrait_anim.provenance.manifest import sign_file
from portrait_anim.provenance.settings import LabelSettings, load_settings
from portrait_anim.sheet import fit
from portrait_anim.types import AudioTrack, Float32Array, UInt8Array

SAMPLE_RATE_HZ = 48_000
_CHANNELS = 2

# A shot that is shown much smaller than it was rendered carries a mark too small to read: the film gets its own.
_SMALLEST_ZOOM = 0.75


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """One finished shot as it goes into the film.

    Attributes:
        path: The rendered MP4.
        num_frames: How many frames of the film it fills.
    """

    path: Path
    num_frames: int


def assemble(
    cuts: Sequence[Cut],
    output: Path,
    *,
    fps: Fraction,
    size: tuple[int, int],
    claims: ManifestClaims,
    home: Path,
    label_size: LabelSize = "small",
    on_frame: Callable[[int], None] | None = None,
) -> None:
    """Join shots into one signed MP4; written completely or not at all.

    Each shot is scaled into the frame, centred on black. Its sound is cut or padded to the very length of its
    pictures, so that nothing drifts however many shots there are. The invisible marks of the shots stay in their
    pictures; a film that shows a shot much smaller gets a visible label of its own.

    Args:
        cuts: The shots in the order of the film.
        output: MP4 to write.
        fps: Frame rate of the film [1/s].
        size: Width and height of the film [px].
        claims: What the manifest states: the consent of everybody who is seen.
        home: Folder that holds the signing keys and the operator's settings.
        label_size: Smallest visible label that the grants ask for.
        on_frame: Told the number of frames written so far; may raise to stop.

    Raises:
        MediaError: If a shot cannot be read or the film cannot be written.
        SigningError: If it cannot be signed.
    """
    if not cuts:
        raise MediaError("expected at least one shot to join, got none; add a shot to the script")
    with tempfile.TemporaryDirectory(prefix=".portrait-anim-", dir=output.parent) as folder:
        draft = Path(folder) / "draft.mp4"
        labeller = _labeller(size, load_settings(home).label, label_size) if _needs_label(cuts, size) else None
        with VideoWriter(draft, fps=fps, size=size, audio=film_sound(cuts, fps)) as writer:
            for index, image in enumerate(_film(cuts, fps, size)):
                writer.write(image if labeller is None else labeller.draw(image, float(index / fps)))
                if on_frame:
                    on_frame(index + 1)
        sign_file(draft, output, claims=claims, home=home)


def film_sound(cuts: Sequence[Cut], fps: Fraction) -> AudioTrack | None:
    """Join the sound of the shots.

    Args:
        cuts: The shots in the order of the film.
        fps: Frame rate of the film [1/s].

    Returns:
        Stereo sound exactly as long as the film, silent where a shot has none; `None` when all are silent.
    """
    tracks = [read_audio(cut.path) for cut in cuts]
    if all(track is None for track in tracks):
        return None
    ends = np.cumsum([0, *(cut.num_frames for cut in cuts)])
    marks = [round(Fraction(int(end)) / fps * SAMPLE_RATE_HZ) for end in ends]
    samples = np.zeros((_CHANNELS, marks[-1]), np.float32)
    for track, start, end in zip(tracks, marks[:-1], marks[1:], strict=True):
        if track is not None:
            part = change_rate(track, SAMPLE_RATE_HZ)[:, : end - start]
            samples[:, start : start + part.shape[1]] = part
    return AudioTrack(samples=samples, sample_rate_hz=SAMPLE_RATE_HZ)


def change_rate(track: AudioTrack, rate_hz: int) -> Float32Array:
    """Bring sound to another sample rate by cutting or extending its spectrum.

    Args:
        track: Sound with any rate.
        rate_hz: Rate wanted [1/s].

    Returns:
        `(C, N)` float32 at the new rate.
    """
    count = track.samples.shape[1]
    wanted = round(count * rate_hz / track.sample_rate_hz)
    if track.sample_rate_hz == rate_hz or count == 0 or wanted == 0:
        return track.samples
    spectrum = np.fft.rfft(track.samples.astype(np.float64), axis=1)
    kept = spectrum[:, : min(spectrum.shape[1], wanted // 2 + 1)]
    changed = np.fft.irfft(kept, n=wanted, axis=1) * (wanted / count)
    return changed.astype(np.float32)


def _film(cuts: Sequence[Cut], fps: Fraction, size: tuple[int, int]) -> Iterator[UInt8Array]:
    for cut in cuts:
        yield from _pictures(cut, fps, size)


def _pictures(cut: Cut, fps: Fraction, size: tuple[int, int]) -> Iterator[UInt8Array]:
    """Give exactly the promised number of pictures; the last one is held if the file has fewer."""
    done, image = 0, None
    with VideoReader(cut.path) as reader:
        for frame in resample(reader, fps):
            if done == cut.num_frames:
                return
            image = fit(frame.image, size)
            yield image
            done += 1
    if image is None:
        raise MediaError(f"expected pictures in the shot {cut.path.name}, got none; remove it and render again")
    for _ in range(cut.num_frames - done):
        yield image


def _labeller(size: tuple[int, int], settings: LabelSettings, label_size: LabelSize) -> Labeller:
    return Labeller(size, language=settings.language, label_size=larger(settings.smallest, label_size))


def _needs_label(cuts: Sequence[Cut], size: tuple[int, int]) -> bool:
    for cut in cuts:
        with VideoReader(cut.path) as reader:
            zoom = min(size[0] / reader.info.width, size[1] / reader.info.height)
        if zoom < _SMALLEST_ZOOM:
            return True
    return False
