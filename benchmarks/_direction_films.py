"""Short films of one coloured shape that moves, and their captions: what the direction benchmark trains and tests on.

A film is of a colour, a shape and a motion; motions come in pairs of which one is the other run backwards. How a film is
drawn makes order the only thing that tells these two apart:

- a motion's path is drawn the same way for both and then run forwards or backwards, so the frames of a film without their
  order are as likely under either (whatever looks at frames without order is at 50 %);
- paths cross most of the field (`LENGTH`; where they cross less than half of it, `lstm` takes longer to learn) and begin
  anywhere that leaves room, so one frame tells only if it is known when it is shown (`direction.py` measures that);
- no blur, no acceleration, a plain grey ground that stands still.

Shapes that stand still (STILL) are there to learn from, not to test. It does not know what is trained. Drawing 512 frames of
32 x 32 takes 12 ms on one core.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

COLOURS = {
    "red": (230, 40, 40),
    "green": (40, 190, 60),
    "blue": (50, 80, 240),
    "yellow": (240, 220, 50),
}
SHAPES = ("circle", "bar", "pole", "cross")
MOTIONS = (  # i and i ^ 1 are each other run backwards
    "moves from left to right",
    "moves from right to left",
    "moves from top to bottom",
    "moves from bottom to top",
    "grows from small to big",
    "shrinks from big to small",
)
SIZES, ROWS, COLUMNS = ("small", "big"), ("top", "middle", "bottom"), ("left", "centre", "right")
STANDS = tuple(f"is {size} and at the {row} {column}" for size in SIZES for row in ROWS for column in COLUMNS)
PHRASES = ("a {colour} {shape} {motion}", "the {colour} {shape} {motion}", "{colour} {shape} {motion}")
LENGTH = (0.75, 0.9)  # of the field, of a path
REACH = 0.7  # centres stay within this far of the middle; the picture's edge is at 1
RADII = (0.2, 0.5)
FRAME_FACTS = np.array([1, 1, 2], np.float32)  # of a path, brought to one scale
Paths = npt.NDArray[np.float32]
Pictures = npt.NDArray[np.uint8]


class Combination(NamedTuple):
    """Indices into COLOURS, SHAPES and MOTIONS + STANDS."""

    colour: int
    shape: int
    motion: int

    @property
    def reverse(self) -> "Combination":
        """The same run backwards."""
        return self._replace(motion=self.motion ^ 1)

    def caption(self, phrase: int = 0) -> str:
        """A sentence; `phrase` says which way of putting it."""
        words = {
            "colour": list(COLOURS)[self.colour],
            "shape": SHAPES[self.shape],
            "motion": (MOTIONS + STANDS)[self.motion],
        }
        return PHRASES[phrase].format(**words)


ALL = [Combination(c, s, m) for c in range(len(COLOURS)) for s in range(len(SHAPES)) for m in range(len(MOTIONS))]
STILL = [
    Combination(c, s, len(MOTIONS) + k)
    for c in range(len(COLOURS))
    for s in range(len(SHAPES))
    for k in range(len(STANDS))
]
PLACE = {combination: place for place, combination in enumerate(ALL + STILL)}


def held_out(turn: int) -> list[bool]:
    """Which of ALL are held out, a quarter of them; `turn` 0 to 3 chooses another one.

    A motion and its reverse are held out together, so neither caption was ever seen; every colour is trained with three of
    the four shapes for each axis, and every two of colour, shape and motion are trained together.
    """
    return [(c + s + m // 2 + turn) % len(SHAPES) == 0 for c, s, m in ALL]


def draw_paths(motions: Sequence[int], frames: int, rng: np.random.Generator) -> Paths:
    """(N, T, 3) float32: x (to the right), y (downwards) in [-REACH, REACH], and radius in RADII; units of half a picture."""
    which = np.asarray(motions)
    length = rng.uniform(*LENGTH, len(which))[:, None]
    still, moved = which >= len(MOTIONS), (which // 2)[:, None] == np.arange(3)  # (N,), (N, 3)
    middle = (rng.random((len(which), 3)) - 0.5) * np.where(moved, 1 - length, 1)
    stands = which - len(MOTIONS)
    cells = np.stack([stands % 3, stands // 3 % 3, stands // 9], axis=1)
    middle = np.where(still[:, None], (cells + middle + 0.5) / (3, 3, 2) - 0.5, middle)
    along = np.linspace(-0.5, 0.5, frames) * length * np.where(which % 2, -1, 1)[:, None]  # (N, T)
    share = middle[:, None] + along[..., None] * moved[:, None]  # in [-1/2, 1/2]
    low, high = np.log(RADII)
    share[..., :2] *= 2 * REACH
    share[..., 2] = np.exp((share[..., 2] + 0.5) * (high - low) + low)
    return share.astype(np.float32)


def draw_films(of: Sequence[Combination], frames: int, size_px: int, rng: np.random.Generator) -> Pictures:
    """(N, T, H, W, 3) uint8 of combinations, each with its own path and grey."""
    colours = np.array(list(COLOURS.values()), np.float32)[[c.colour for c in of]]
    paths = draw_paths([c.motion for c in of], frames, rng)
    grey = rng.uniform(0, 90, (len(of), 1, 1, 1, 1)).astype(np.float32)
    shapes = np.array([c.shape for c in of])
    cover = np.empty((len(of), frames, size_px, size_px, 1), np.float32)
    for shape in range(len(SHAPES)):
        rows = shapes == shape
        cover[rows] = coverage(paths[rows], SHAPES[shape], size_px)[..., None]
    return np.rint(grey + cover * (colours[:, None, None, None] - grey)).astype(np.uint8)


def coverage(paths: Paths, shape: str, size_px: int) -> Paths:
    """(N, T, H, W) how much of each pixel the shape covers, from its signed distance to the pixel's middle."""
    at = ((np.arange(size_px, dtype=np.float32) + 0.5) / size_px) * 2 - 1
    x, y, radius = (paths[..., axis, None, None] for axis in range(3))
    dx, dy = at[None, None, None, :] - x, at[None, None, :, None] - y
    if shape == "circle":
        away = np.sqrt(dx * dx + dy * dy) - radius
    elif shape == "bar":
        away = np.maximum(np.abs(dx) - radius, np.abs(dy) - 0.4 * radius)
    elif shape == "pole":
        away = np.maximum(np.abs(dx) - 0.4 * radius, np.abs(dy) - radius)
    else:
        arm = 0.3 * radius
        away = np.minimum(
            np.maximum(np.abs(dx) - radius, np.abs(dy) - arm), np.maximum(np.abs(dy) - radius, np.abs(dx) - arm)
        )
    return np.clip(0.5 - away * (size_px / 2), 0, 1)


def write_films(
    folder: Path,
    of: Sequence[Combination],
    rng: np.random.Generator,
    *,
    seconds: int = 8,
    fps: int = 4,
    size_px: int = 64,
) -> list[Path]:
    """H.264 files, one of each given combination, named by their number."""
    from nightreel.demo.films import write_video

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.mp4" for number in range(len(of))]
    for path, combination in zip(paths, of, strict=True):
        write_video(path, iter(draw_films([combination], seconds * fps, size_px, rng)[0]), fps)
    return paths
