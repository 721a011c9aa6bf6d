"""What is asked, as one unit vector: sentences, an image, a span of a stored video, and what it should not be.

Several parts are averaged as unit vectors; each `--not` is subtracted with weight `NOT_WEIGHT`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..extract.encoders.base import ClipEncoder, Encoder, FrameEncoder
from ..extract.errors import UsageError

Vector = npt.NDArray[np.float32]
NOT_WEIGHT = 0.5
LEAST_NORM = 1e-3  # of a question's vector; below, only rounding is left of it


@dataclass(frozen=True, slots=True)
class Query:
    """The parts of a question; at least one of `texts`, `image` and `like` must be given.

    Attributes:
        texts: sentences.    image: a picture file.    like: (S, D) stored embeddings to look like.
        without: sentences that the answer should not look like.
    """

    texts: tuple[str, ...] = ()
    image: Path | None = None
    like: Vector | None = None
    without: tuple[str, ...] = ()

    @property
    def needs_encoder(self) -> bool:
        """Whether it has parts that are not in the archive already."""
        return bool(self.texts or self.without or self.image is not None)

    def embed(self, load: Callable[[], Encoder]) -> Vector:
        """(D,) float32, unit norm.

        Args:
            load: the encoder; called only if it is needed.

        Raises:
            UsageError: nothing was asked, an empty sentence, text or a picture for an encoder that knows none, not a
            picture.
        """
        texts = [_checked(text) for text in self.texts]
        without = [_checked(text) for text in self.without]
        image = None if self.image is None else read_image(self.image)
        parts: list[Vector] = []
        if self.needs_encoder:
            encoder = _of_frames(load())
            if (texts or without) and not encoder.has_text:
                raise UsageError(
                    f"encoder {encoder.spec} knows no text, so a sentence cannot be looked up in its features.\n"
                    "Search with an image (--image) or a clip (--like), or extract with a text encoder."
                )
            if texts:
                parts.append(unit(encoder.encode_text(texts).mean(0)))
            if image is not None:
                parts.append(unit(encoder.encode_frames(image[None])[0]))
        if self.like is not None:
            parts.append(unit(self.like.astype(np.float32).mean(0)))
        if not parts:
            raise UsageError("nothing to search for: expected a sentence, --image FILE or --like VIDEO@START-END.")
        vector = np.sum(parts, axis=0)
        if without:
            vector = vector - NOT_WEIGHT * encoder.encode_text(without).sum(0)
        if np.linalg.norm(vector) < LEAST_NORM:
            raise UsageError("the parts of the question cancel out, so nothing is left to look for; drop a --not.")
        return unit(vector)


def _of_frames(encoder: Encoder) -> FrameEncoder:
    if isinstance(encoder, ClipEncoder):
        raise UsageError(
            f"encoder {encoder.spec} sees clips, not sentences and not single pictures.\n"
            "Search its features with footage of the archive (--like VIDEO@START-END), or choose one with text by --encoder."
        )
    return encoder


def unit(vector: Vector) -> Vector:
    """(D,) with norm 1; a zero vector stays zero (it is equally near to everything)."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """A picture file as (H, W, 3) uint8 RGB, upright.

    Raises:
        UsageError: no such file, or not a picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except FileNotFoundError as error:
        raise UsageError(f"no such picture: {path}. Expected a PNG, JPEG or WebP file.") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} cannot be read as a picture ({error}). Expected a PNG, JPEG or WebP file.") from error


def parse_span(text: str) -> tuple[str, float, float]:
    """`VIDEO@START-END` in seconds or h:mm:ss -> (video, start_s, end_s).

        tape.mp4@12-20          -> tape.mp4, 12, 20
        tape.mp4@1:02:03-1:02:10.5

    Raises:
        UsageError: another form, or an end that is not after its start.
    """
    video, at, span = text.rpartition("@")
    start, dash, end = span.partition("-")
    try:
        if not (video and at and dash):
            raise ValueError
        start_s, end_s = seconds(start), seconds(end)
        if not start_s < end_s:
            raise ValueError
    except ValueError as error:
        raise UsageError(
            f"--like {text!r}: expected VIDEO@START-END in seconds or h:mm:ss, start before end, for example tape.mp4@12-20."
        ) from error
    return video, start_s, end_s


def seconds(text: str) -> float:
    """`75`, `75.5`, `1:15` or `0:01:15` in seconds; ValueError for anything else."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        raise ValueError(f"expected seconds or h:mm:ss, got {text!r}")
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return total


def _checked(text: str) -> str:
    if not text.strip():
        raise UsageError(
            "the sentence is empty; expected words, for example: nightreel search ARCHIVE 'a dog on a beach'"
        )
    return text


def as_texts(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """None, one sentence or several as a tuple."""
    if text is None:
        return ()
    return (text,) if isinstance(text, str) else tuple(text)
