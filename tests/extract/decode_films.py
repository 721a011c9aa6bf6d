"""Small films whose every frame says which one it is, and a child process that decodes films out of harm's
way.

Frame i is one solid colour, `colour(i)`: times and pixels can be checked together, after any lossy codec.
Run as a script, it decodes the files named on standard input and prints one JSON line each.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from nightreel.extract.decode.base import Pixels
from nightreel.extract.decode.open import open_video
from nightreel.extract.errors import VideoError

LEVELS = (24, 88, 152, 216)
COLOUR_PERIOD = len(LEVELS) ** 3
MILLISECOND = Fraction(1, 1000)


def colour(index: int) -> tuple[int, int, int]:
    """RGB of frame `index`, different for 64 frames in a row."""
    i = index % COLOUR_PERIOD
    return LEVELS[i % 4], LEVELS[i // 4 % 4], LEVELS[i // 16]


def index_of(pixels: Pixels) -> int:
    """Which frame (modulo 64) a picture shows: the nearest colour of its mean."""
    mean = pixels.reshape(-1, 3).mean(axis=0)
    digits = [int(np.abs(np.array(LEVELS) - value).argmin()) for value in mean]
    return digits[0] + 4 * digits[1] + 16 * digits[2]


def solid(index: int, width_px: int, height_px: int) -> Pixels:
    """(H, W, 3) uint8 in the colour of frame `index`."""
    return np.full((height_px, width_px, 3), colour(index), np.uint8)


def corners(width_px: int, height_px: int) -> Pixels:
    """Red, green, blue, white quarters in reading order: shows every turn and mirror."""
    picture = np.zeros((height_px, width_px, 3), np.uint8)
    up, left = slice(height_px // 2), slice(width_px // 2)
    down, right = slice(height_px // 2, None), slice(width_px // 2, None)
    for rows, columns, rgb in (
        (up, left, (200, 30, 30)),
        (up, right, (30, 200, 30)),
        (down, left, (30, 30, 200)),
        (down, right, (220, 220, 220)),
    ):
        picture[rows, columns] = rgb
    return picture


def make_film(
    path: Path,
    pictures: Sequence[Pixels],
    pts: Sequence[int],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    time_base: Fraction = MILLISECOND,
    options: dict[str, str] | None = None,
    turn: tuple[int, bool, bool] = (0, False, False),
    matrix: int | None = None,
    full_range: bool = False,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode `pictures` at the times `pts * time_base`.

    Args:
        turn: the container's display matrix: degrees counter-clockwise, mirror left-right, mirror up-down.
        matrix: libav's number of the colour matrix to convert and tag with (1 BT.709, 5 BT.601); None: BT.601
            and no tag.
    """
    import av

    height_px, width_px = pictures[0].shape[:2]
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, pix_fmt
        stream.codec_context.time_base = time_base
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        if full_range:
            stream.codec_context.color_range = 2
        if turn != (0, False, False):
            stream.set_display_rotation(turn[0], hflip=turn[1], vflip=turn[2])
        for picture, stamp in zip(pictures, pts, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(
                format=pix_fmt, dst_colorspace=matrix or 5, dst_color_range=2 if full_range else 1
            )
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def solid_film(path: Path, pts: Sequence[int], size: tuple[int, int] = (64, 48), **how: Any) -> Path:
    """A film of solid frames 0, 1, 2... at the times `pts`."""
    return make_film(path, [solid(i, *size) for i in range(len(pts))], pts, **how)


def harm(data: bytes, chance: random.Random) -> bytes:
    """Cut off at a random place, or with some bits flipped."""
    if chance.random() < 0.4:
        return data[: chance.randrange(len(data))]
    hurt = bytearray(data)
    for _ in range(chance.choice((1, 8, 64))):
        hurt[chance.randrange(len(hurt))] ^= 1 << chance.randrange(8)
    return bytes(hurt)


def decode_facts(path: str, backend: str) -> dict[str, Any]:
    """What `expected.jsonl` says of a file, as this backend finds it; the first frame is converted too."""
    times_s: list[float] = []
    found: dict[str, Any] = {"outcome": "ok"}
    began = time.perf_counter()
    try:
        with open_video(path, backend) as reader:
            facts = reader.facts
            found |= {"display_width": facts.width_px, "display_height": facts.height_px}
            found |= {"rotation_deg": facts.rotation_deg, "start_s": facts.start_s}
            for frame in reader.frames():
                if not times_s:
                    found["shape"] = frame.rgb().shape
                times_s.append(frame.time_s)
    except VideoError as error:
        found |= {"outcome": "partial" if times_s else error.kind, "message": str(error)}
    found["frames"] = len(times_s)
    found["seconds"] = time.perf_counter() - began
    if times_s:
        found |= {"first_s": times_s[0], "last_s": times_s[-1]}
        found["monotonic_pts"] = all(b > a for a, b in pairwise(times_s))
    return found


def start_child(backend: str, paths: Sequence[Path]) -> "subprocess.Popen[str]":
    """Decode `paths` in a child: a backend that crashes or hangs on a file must not take the tests along."""
    command = [sys.executable, __file__, backend]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdin is not None
    child.stdin.write(json.dumps([str(path) for path in paths]))
    child.stdin.close()
    child.stdin = None  # so that communicate() does not write to it
    return child


def child_results(child: "subprocess.Popen[str]", timeout_s: float) -> tuple[dict[str, dict[str, Any]], str]:
    """(facts by file name as far as the child got, its stderr)."""
    try:
        out, err = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
    rows = [json.loads(line) for line in out.splitlines()]
    return {row.pop("file"): row for row in rows}, err


if __name__ == "__main__":
    for name in json.load(sys.stdin):
        print(json.dumps({"file": Path(name).name, **decode_facts(name, sys.argv[1])}), flush=True)
