"""Small films with a known truth, made out of photographs that ship inside scikit-image and scikit-learn.

Each film is a few scenes; a scene is a slow pan or zoom over one photograph. Knows nothing of archives. Five films of
about 30 s take 5 s to make on two cores and 1.5 MB.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extract.errors import NightreelError

Pixels = npt.NDArray[np.uint8]

WIDTH_PX, HEIGHT_PX, FPS = 480, 360, 15
# x264 writes other films on other processors, and with AVX2 from run to run: a constant quantiser and SSE2 only do not.
SAME_EVERYWHERE = {"qp": "23", "x264-params": "asm=sse2"}


@dataclass(frozen=True, slots=True)
class Scene:
    """One shot: which photograph, for how long, and the crop (left, top, width; parts of the picture) it moves between."""

    photo: str
    seconds: float
    begin: tuple[float, float, float]
    end: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Film:
    """A file name and its scenes in order."""

    name: str
    scenes: tuple[Scene, ...]

    def truth(self) -> list[tuple[str, float, float]]:
        """(photo, start_s, end_s) of every scene."""
        out, at = [], 0.0
        for scene in self.scenes:
            out.append((scene.photo, at, at + scene.seconds))
            at += scene.seconds
        return out


# What each photograph shows, as somebody would ask for it.
SENTENCES = {
    "cat": "a cat looking at the camera",
    "coffee": "a cup of coffee on a table",
    "rocket": "a rocket standing on its launch pad",
    "motorcycle": "a motorcycle in a garage",
    "astronaut": "an astronaut in a space suit",
    "flower": "a flower in bloom",
    "temple": "an old temple with a curved roof",
    "coins": "ancient coins",
}

_IN, _OUT = ((0.0, 0.0, 1.0), (0.15, 0.15, 0.7)), ((0.15, 0.1, 0.7), (0.0, 0.0, 1.0))
_RIGHT, _LEFT = ((0.0, 0.1, 0.8), (0.2, 0.1, 0.8)), ((0.2, 0.1, 0.8), (0.0, 0.1, 0.8))


def _film(name: str, *scenes: tuple[str, float, tuple[tuple[float, float, float], tuple[float, float, float]]]) -> Film:
    return Film(name, tuple(Scene(photo, seconds, *move) for photo, seconds, move in scenes))


# Five photographs stand in one film each; flower, temple and coins come back as what surrounds them.
FILMS: tuple[Film, ...] = (
    _film("saturday.mp4", ("coins", 6, _RIGHT), ("cat", 7, _IN), ("flower", 5, _OUT), ("temple", 8, _LEFT)),
    _film("kitchen.mp4", ("temple", 5, _IN), ("flower", 6, _LEFT), ("coins", 5, _OUT), ("coffee", 8, _RIGHT)),
    _film("launch_day.mp4", ("rocket", 9, _OUT), ("temple", 6, _RIGHT), ("flower", 5, _IN), ("coins", 7, _LEFT)),
    _film("workshop.mp4", ("flower", 5, _RIGHT), ("coins", 6, _IN), ("motorcycle", 8, _LEFT), ("temple", 5, _OUT)),
    _film("museum.mp4", ("coins", 5, _OUT), ("flower", 8, _LEFT), ("astronaut", 6, _IN), ("temple", 6, _RIGHT)),
)


def photographs() -> dict[str, Pixels]:
    """Name -> (H, W, 3) uint8 of the eight photographs, no download.

    Raises:
        NightreelError: the packages that hold them are not installed.
    """
    try:
        from skimage import data as photos
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise NightreelError(
            f"the demo's photographs come with two packages, and {error.name} is not installed.\n"
            "Install them with: pip install 'nightreel[demo]'   or try your own videos: nightreel demo FOLDER"
        ) from error
    data: Any = photos  # untyped
    readers: dict[str, Callable[[], Pixels]] = {
        "cat": data.chelsea,
        "coffee": data.coffee,
        "rocket": data.rocket,
        "motorcycle": lambda: data.stereo_motorcycle()[0],
        "astronaut": data.astronaut,
        "flower": lambda: load_sample_image("flower.jpg"),
        "temple": lambda: load_sample_image("china.jpg"),
        "coins": lambda: np.repeat(data.coins()[:, :, None], 3, axis=2),
    }
    return {name: np.ascontiguousarray(read()) for name, read in readers.items()}


def render(scene: Scene, photo: Pixels) -> Iterator[Pixels]:
    """The scene's frames, (HEIGHT_PX, WIDTH_PX, 3) uint8."""
    from PIL import Image

    picture = Image.fromarray(photo)
    # The largest window of the film's shape that fits in the photograph; a crop's width is a part of it.
    width = min(picture.width, picture.height * WIDTH_PX / HEIGHT_PX)
    height = width * HEIGHT_PX / WIDTH_PX
    margin_x, margin_y = (picture.width - width) / 2, (picture.height - height) / 2
    count = round(scene.seconds * FPS)
    for i in range(count):
        part = i / max(1, count - 1)
        left, top, size = (a + (b - a) * part for a, b in zip(scene.begin, scene.end, strict=True))
        x, y = margin_x + left * width, margin_y + top * height
        box = (x, y, min(x + size * width, picture.width), min(y + size * height, picture.height))
        yield np.asarray(picture.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BILINEAR, box=box))


def write_video(path: Path, frames: Iterator[Pixels], fps: int = FPS) -> None:
    """Frames (H, W, 3) uint8 as an H.264 file (MPEG-4 part 2 where libx264 is not built in)."""
    import av

    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps), options=SAME_EVERYWHERE)
        stream.codec_context.thread_count = 1
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            if not stream.codec_context.is_open:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def make_films(folder: Path, films: Sequence[Film] = FILMS) -> list[Path]:
    """Write the films into `folder`; those that are there already are kept as they are."""
    photos = photographs()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for film in films:
        path = folder / film.name
        if not path.exists():
            unfinished = path.with_name(f".making-{path.name}")
            write_video(unfinished, (frame for scene in film.scenes for frame in render(scene, photos[scene.photo])))
            unfinished.replace(path)
        paths.append(path)
    return paths


if __name__ == "__main__":  # python -m nightreel.demo.films FOLDER
    import sys

    from .words import write_tables

    there = Path(sys.argv[1] if len(sys.argv) > 1 else "films")
    for made in [*make_films(there), *write_tables(there)]:
        print(made)
