"""Shared fixtures: films whose truth is known because we made them, and where the measuring data lies."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def _load(name: str, path: Path) -> ModuleType:
    """A helper module by its file: with importlib mode, test folders are not on the path."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Tests say `import decode_films`, `import video_models` or `from command import nightreel`; the fixtures of `archives` are
# passed on below.
_load("decode_films", Path(__file__).parent / "extract" / "decode_films.py")
_load("video_models", Path(__file__).parent / "extract" / "video_models.py")
_load("command", Path(__file__).parent / "command.py")
_load("bench", Path(__file__).parent / "bench.py")
archives = _load("archives", Path(__file__).parent / "archives.py")
make_archive, colours = archives.make_archive, archives.colours

COLOURS = {
    "red": (220, 20, 20),
    "green": (20, 200, 20),
    "blue": (20, 20, 220),
    "yellow": (220, 220, 20),
    "white": (240, 240, 240),
    "black": (5, 5, 5),
}
FILM_FPS = 10

MakeFilm = Callable[..., Path]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach for a hub: what cannot work offline must fail here, at once."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small steps on two threads wait for one another; where other processes want the cores, for 20 times as long."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_film() -> MakeFilm:
    """make_film(path, [("red", 3.0), ("blue", 2.0)]) writes solid colours, one after the other, at 10 fps."""
    from nightreel.demo.films import write_video

    def make(path: Path, scenes: Sequence[tuple[str, float]], size: tuple[int, int] = (64, 48)) -> Path:
        def frames() -> Iterator[np.ndarray]:
            for colour, seconds in scenes:
                for _ in range(round(seconds * FILM_FPS)):
                    yield np.full((size[1], size[0], 3), COLOURS[colour], np.uint8)

        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames(), FILM_FPS)
        return path

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real material beside the project; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the measuring data (../shared/data) is not here")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """GPU tests skip without a GPU, unless NIGHTREEL_REQUIRE_GPU=1 says that there must be one."""
    if not any("gpu" in item.keywords for item in items) or os.environ.get("NIGHTREEL_REQUIRE_GPU") == "1":
        return
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device; NIGHTREEL_REQUIRE_GPU=1 makes this fail"))
