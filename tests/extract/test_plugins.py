"""Encoders of other packages: the example of docs/encoders.md, installed as pip would, is run; broken ones do no harm."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import video_models as models
from nightreel.extract.encoders import registry
from nightreel.extract.encoders.registry import families, load_encoder, resolve
from nightreel.extract.errors import UnknownEncoder

MakeFilm = Callable[..., Path]


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, where packages are found."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [name for name in sys.modules if name.startswith("nightreel_")]:
        del sys.modules[name]


def nightreel(folder: Path, *arguments: str) -> Any:
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "nightreel.cli", *arguments, "--json"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_example_is_short_enough_to_read(tmp_path: Path) -> None:
    code = models.write_plugin(tmp_path)
    said = re.sub(r'"""[^"]*"""|#.*', "", code)
    assert len([line for line in said.splitlines() if line.strip()]) <= 30


def test_the_example_of_the_docs_is_an_encoder_like_any_other(
    plugins: Path, make_film: MakeFilm, tmp_path: Path
) -> None:
    models.write_plugin(plugins)
    film = make_film(tmp_path / "blink.mp4", [("white", 0.5), ("black", 0.5)] * 4)
    make_film(tmp_path / "calm.mp4", [("white", 4.0)])
    archive = str(tmp_path / "a.reel")
    told = nightreel(
        plugins, "extract", str(film), str(tmp_path / "calm.mp4"), "--archive", archive, "--encoder", "flicker"
    )
    assert told["segments"] == {"flicker": 4}  # of two seconds each
    listed = nightreel(plugins, "encoders")["encoders"]
    assert [row["spec"] for row in listed][-1] == "flicker"
    from nightreel.extract.store import Store

    (segments,) = Store.open(archive).segments("flicker")
    blinking = segments.quality["flicker"] > 20
    assert blinking.tolist() == [segment.video_id == segments.video_id[blinking][0] for segment in segments]
    assert blinking.sum() == 2


def test_families_of_other_packages_come_after_our_own(plugins: Path) -> None:
    models.write_plugin(plugins)
    assert list(families()) == [*registry.FAMILIES, "flicker"]
    assert resolve("flicker") == "flicker"
    assert load_encoder("flicker").dim == 8
    with pytest.raises(UnknownEncoder, match="Did you mean 'flicker'"):
        resolve("fliker")


@pytest.mark.parametrize("code", ["raise RuntimeError('half installed')", "FAMILY = 3", "x = 1", "import not_there"])
def test_a_package_that_cannot_be_used_is_named_and_harms_nobody(
    plugins: Path, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    models.write_plugin(plugins)
    (plugins / "nightreel_flicker.py").write_text(code)
    with pytest.raises(UnknownEncoder, match=r"'flicker': nightreel_flicker:FAMILY.*Mend or remove"):
        load_encoder("flicker")
    assert list(families()) == list(registry.FAMILIES)
    assert "nightreel_flicker:FAMILY" in caplog.text
    assert load_encoder("toy").dim == 4


def test_nobody_can_take_the_place_of_our_own(plugins: Path) -> None:
    models.write_plugin(plugins)
    points = plugins / "nightreel_flicker-1.0.dist-info" / "entry_points.txt"
    points.write_text("[nightreel.encoders]\ntoy = nightreel_flicker:FAMILY\n")
    assert type(load_encoder("toy")).__name__ == "ToyEncoder"
