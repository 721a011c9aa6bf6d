"""What is asked, as one unit vector: sentences, an image, a span of a stored video, and what it should not be.

    v = unit(unit(sum_i w_i e_i) - sum_j w_j n_j)

e_i are the unit vectors of the sentences, the image and the footage, n_j those of the sentences to stay away from (`--not`).
A part's weight w is 1, of a `--not` `NOT_WEIGHT`, or what the part says itself by a boost at its end, written as in Lucene:
`a dog on a beach^2`. So boosts of what is wanted count among each other (of a single part none does anything), and those of
`--not` against all that is wanted together, however many parts that has.

It knows no archive: footage comes as embeddings. It costs one text call, and one picture, of the encoder.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..extract.encoders.base import ClipEncoder, Encoder, FrameEncoder, templates_of
from ..extract.errors import UsageError

Vector = npt.NDArray[np.float32]
NOT_WEIGHT = 0.5
MOST_WEIGHT = 100.0  # more leaves nothing of the other parts
LEAST_NORM = 1e-3  # of a question's vector; below, only rounding is left of it
SHORT_WORDS = 3  # up to so many are a label rather than a caption

# What somebody who wants a weight may write, right or wrong; anything else after a ^ belongs to the sentence.
BOOST = re.compile(r"\^([+-]?(?:[.,]?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?|inf|infinity|nan))\s*", re.ASCII | re.IGNORECASE)
WEIGHT = re.compile(r"\d*\.?\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Query:
    """The parts of a question; at least one of `texts`, `image` and `like` must be given.

    Attributes:
        texts: sentences, each with a boost or not.    image: a picture file, likewise.
        like: (S, D) stored embeddings to look like.
        without: sentences that the answer should not look like, likewise.
        like_weight: of `like`; `weighed` reads it off `VIDEO@START-END^W`.
    """

    texts: tuple[str, ...] = ()
    image: str | Path | None = None
    like: Vector | None = None
    without: tuple[str, ...] = ()
    like_weight: float = 1.0

    @property
    def needs_encoder(self) -> bool:
        """Whether it has parts that are not in the archive already."""
        return bool(self.texts or self.without or self.image is not None)

    def embed(self, load: Callable[[], Encoder]) -> Vector:
        """(D,) float32, unit norm: the module's formula.

        Args:
            load: the encoder; called only if it is needed.

        Raises:
            UsageError: nothing was asked, an empty sentence, a weight that is none, text or a picture for an encoder that
            knows none, not a picture, or parts that cancel out.
        """
        texts = [_sentence(text, 1.0) for text in self.texts]
        without = [_sentence(text, NOT_WEIGHT) for text in self.without]
        weights = [weight for _, weight in texts]
        image = None
        if self.image is not None:
            path, weight = weighed_path(self.image)
            image = read_image(path)
            weights.append(weight)
        if not weights and self.like is None:
            raise UsageError("nothing to search for: expected a sentence, --image FILE or --like VIDEO@START-END.")
        wanted: list[Vector] = []
        unwanted: list[Vector] = []
        if self.needs_encoder:
            encoder = _of_frames(load())
            said = list(embed_texts(encoder, [text for text, _ in texts + without]))
            wanted, unwanted = said[: len(texts)], said[len(texts) :]
            if image is not None:
                wanted.append(unit(encoder.encode_frames(image[None])[0]))
        if self.like is not None:
            wanted.append(unit(self.like.astype(np.float32).mean(0)))
            weights.append(self.like_weight)
        return combined(wanted, weights, unwanted, [weight for _, weight in without])


def combined(
    wanted: Sequence[Vector], weights: Sequence[float], unwanted: Sequence[Vector], unweights: Sequence[float]
) -> Vector:
    """(D,) float32, unit norm: the module's formula.

    Args:
        wanted: P vectors (D,) of unit norm, P >= 1.    weights: P, above 0.
        unwanted: N vectors (D,) of unit norm.    unweights: N, above 0.

    Raises:
        UsageError: the parts cancel out.
    """
    share = np.asarray(weights, np.float64) / np.sum(weights)  # shares, so that tiny weights are not taken for nothing
    vector = _direction(share @ np.stack(wanted))
    for weight, away in zip(unweights, unwanted, strict=True):
        vector = vector - weight * away
    return _direction(vector).astype(np.float32)


def _direction(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    norm = float(np.linalg.norm(vector))
    if norm < LEAST_NORM:
        raise UsageError(
            "the parts of the question cancel out, so nothing is left to look for; drop a --not, or give a part another "
            "weight (such as ^0.3 at its end)."
        )
    return vector / norm


def embed_texts(encoder: FrameEncoder, texts: Sequence[str]) -> Vector:
    """Q sentences -> (Q, D) float32, unit norm, by one call of the encoder.

    Models like CLIP learned from captions, and know a bare word less well than a caption with it. So a text of up to
    `SHORT_WORDS` words is the mean of what it is in each of the encoder's templates, made unit (Radford et al. 2021, "Learning
    Transferable Visual Models From Natural Language Supervision", section 3.1.4).

    Raises:
        UsageError: the encoder knows no text.
    """
    if not texts:
        return np.empty((0, encoder.dim), np.float32)
    if not encoder.has_text:
        raise UsageError(
            f"encoder {encoder.spec} knows no text, so a sentence cannot be looked up in its features.\n"
            "Search with an image (--image) or a clip (--like), or extract with a text encoder."
        )
    groups = [phrases(text, templates_of(encoder)) for text in texts]
    vectors = encoder.encode_text([phrase for group in groups for phrase in group])
    ends = np.cumsum([len(group) for group in groups])
    return np.stack([unit(group.mean(0)) for group in np.split(vectors, ends[:-1])])


def phrases(text: str, templates: Sequence[str]) -> list[str]:
    """The ways to say a text: a short one in each template, in the place of `{}`; a longer one as it is.

    dog, ("{}", "a photo of {}.")  ->  dog, a photo of dog.
    """
    if len(text.split()) > SHORT_WORDS:
        return [text]
    return [template.replace("{}", text) for template in templates]  # not `format`: texts may hold braces


def boosted(text: str) -> tuple[str, float | None]:
    """Take the boost off a part of a question: (the part, its weight, None without one).

        a dog on a beach^2    ->  a dog on a beach, 2       the last ^ counts, so ^1 saves one before it:
        tape.mp4@12-20^.5     ->  tape.mp4@12-20, 0.5       the graph of x^2^1  ->  the graph of x^2, 1
        what is a^b           ->  what is a^b, None         no number, no boost

    Raises:
        UsageError: what looks like a number is no decimal above 0 and at most `MOST_WEIGHT`.
    """
    part, mark, _ = text.rpartition("^")
    found = BOOST.fullmatch(text, len(part)) if mark else None
    if found is None:
        return text, None
    number = found[1]
    weight = float(number) if WEIGHT.fullmatch(number) else 0.0
    if not 0 < weight <= MOST_WEIGHT:
        raise UsageError(
            f"{text!r}: expected a weight after ^ that is a decimal number above 0 and at most {MOST_WEIGHT:g}, such as ^0.5 "
            f"or ^2, got {number!r}. To stay away from something use --not; if it is part of the text, add ^1."
        )
    return part.rstrip(), weight


def weighed(text: str, usual: float = 1.0) -> tuple[str, float]:
    """As `boosted`, with the `usual` weight where the part has none."""
    part, weight = boosted(text)
    return part, usual if weight is None else weight


def weighed_path(path: str | Path) -> tuple[Path, float]:
    """As `weighed`, of a file; one that has the whole name, boost and all, is meant as it stands."""
    if os.path.exists(path):  # not `Path.exists`, which raises for names that are too long
        return Path(path), 1.0
    part, weight = weighed(str(path))
    return Path(part), weight


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
    """`VIDEO@START-END` in seconds or h:mm:ss -> (video, start_s, end_s); a boost behind it is passed over.

        tape.mp4@12-20          -> tape.mp4, 12, 20
        tape.mp4@12-20^2        -> tape.mp4, 12, 20
        tape.mp4@1:02:03-1:02:10.5

    Raises:
        UsageError: another form, an end that is not after its start, or a weight that is none.
    """
    video, at, span = boosted(text)[0].rpartition("@")
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


def _sentence(text: str, usual: float) -> tuple[str, float]:
    sentence, weight = weighed(text, usual)
    if not sentence.strip():
        raise UsageError(
            "the sentence is empty; expected words, for example: nightreel search ARCHIVE 'a dog on a beach'"
        )
    return sentence, weight


def as_texts(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """None, one sentence or several as a tuple."""
    if text is None:
        return ()
    return (text,) if isinstance(text, str) else tuple(text)
