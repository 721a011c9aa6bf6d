"""Pictures at times: the right frames, upright, undistorted; and whatever a file does, an answer."""

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import decode_films as films
import numpy as np
import pytest
from nightreel.extract.decode.open import open_video
from nightreel.extract.errors import VideoError
from nightreel.extract.geometry import Geometry
from nightreel.extract.workers.messages import Job, Lane, Setup
from nightreel.extract.workers.process import Limits
from nightreel.search.picture import thumbnails as module
from nightreel.search.picture.thumbnails import MOST_TIMES, WIDEST, Grid, JumpingReader, Thumbnail, shrunk, thumbnails

MakeFilm = Callable[..., Path]
FRAMES, STEP_MS = 60, 100  # the film: 6 s, every frame of a colour of its own


def film_of(path: Path, keyint: int = 10, **how: object) -> Path:
    options = {"g": str(keyint), "keyint_min": str(keyint), "sc_threshold": "0", "bf": "2"}
    made: Path = films.solid_film(path, range(0, FRAMES * STEP_MS, STEP_MS), options=options, **how)
    return made


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film_of(tmp_path_factory.mktemp("film") / "film.mp4")


def pictures(path: Path, times_s: list[float], height_px: int = 32) -> list[Thumbnail]:
    """As `thumbnails`, without a process of its own."""
    geometry = Geometry((height_px, WIDEST * height_px))
    with JumpingReader(path) as reader:
        high, wide = shrunk(reader.facts.height_px, reader.facts.width_px, geometry.size_px)
        sampled = reader.samples([Grid(1.0, 2, time_s) for time_s in times_s])
        return [Thumbnail(frame.time_s, frame.picture(geometry)[:high, :wide]) for frame, _ in sampled]


def shown(made: list[Thumbnail]) -> list[tuple[float, int]]:
    """When, and which frame."""
    return [(round(thumbnail.time_s, 3), films.index_of(thumbnail.rgb)) for thumbnail in made]


def test_the_frame_that_is_shown_then(film: Path) -> None:
    # 0.95 s lies between the frames of 0.9 and 1.0 s. The last frame is shown until 5.94 s.
    made = thumbnails(film, [2.0, 0.0, 0.95, 5.93, 2.0, 50.0, 60.0], 32)
    assert shown(made) == [(0.0, 0), (0.95, 9), (2.0, 20), (5.93, 59), (5.94, 59)]
    assert all(thumbnail.rgb.shape == (32, 43, 3) for thumbnail in made)


@pytest.mark.parametrize(
    ("name", "codec"), [("x.mkv", "libx264"), ("x.ts", "libx264"), ("x.avi", "mpeg4"), ("x.flv", "libx264")]
)
def test_containers(tmp_path: Path, name: str, codec: str) -> None:
    rate = Fraction(1, 10) if codec == "mpeg4" else films.MILLISECOND  # AVI has no other times
    pts = range(FRAMES) if codec == "mpeg4" else range(0, FRAMES * STEP_MS, STEP_MS)
    path = films.solid_film(tmp_path / name, pts, codec=codec, time_base=rate, options={"g": "10"})
    times = [0.05, 1.25, 3.15, 5.85]
    assert shown(pictures(path, times)) == [(time_s, int(time_s * 10)) for time_s in times]


def test_a_stream_without_times_is_counted(tmp_path: Path, film: Path) -> None:
    with av.open(str(film)) as source, av.open(str(tmp_path / "x.h264"), "w", format="h264") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    assert shown(pictures(tmp_path / "x.h264", [0.0, 1.0])) == [
        (0.0, 0),
        (1.0, 25),
    ]  # 25 a second, as nothing else is said


def test_only_what_is_near_is_decoded(film: Path, tmp_path: Path) -> None:
    with JumpingReader(film) as reader:
        assert [mask for _, mask in reader.samples([Grid(1.0, 2, 0.1), Grid(1.0, 2, 5.5)])] == [1, 2]
        assert reader.effort.frames < FRAMES / 2
    with JumpingReader(film_of(tmp_path / "one_key.mp4", keyint=1000)) as reader:
        list(reader.samples([Grid(1.0, 2, time_s) for time_s in (1.0, 2.0, 3.0, 4.0, 5.0)]))
        assert reader.effort.frames <= FRAMES  # no frame twice


def test_far_from_a_key_frame_it_is_an_earlier_picture_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film_of(tmp_path / "one_key.mp4", keyint=1000)
    monkeypatch.setattr(module, "_LEAST_FRAMES", 20)
    monkeypatch.setattr(module, "_MOST_PX", 0)
    with JumpingReader(path) as reader:
        (frame, _), (later, _) = reader.samples([Grid(1.0, 2, 5.0), Grid(1.0, 2, 5.5)])
        assert frame.time_s == pytest.approx(1.9, abs=0.11)
        assert later.time_s == pytest.approx(3.9, abs=0.11)  # and goes on from there


def test_upright_and_of_the_display_s_proportions(tmp_path: Path) -> None:
    turned = films.make_film(
        tmp_path / "turned.mp4", [films.corners(64, 32)] * 5, range(0, 500, 100), turn=(90, False, False)
    )
    (made,) = pictures(turned, [0.2], 64)
    assert made.rgb.shape == (64, 32, 3)
    with open_video(turned) as reader:
        upright = next(iter(reader.frames())).rgb()
    assert (
        np.abs(upright[[8, 8, -8, -8], [8, -8, 8, -8]].astype(int) - made.rgb[[8, 8, -8, -8], [8, -8, 8, -8]]).max()
        < 12
    )


def wide_pixels(path: Path, ratio: Fraction, turn: int) -> Path:
    """64x48, `ratio` as the shape of one pixel."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = ratio
        if turn:
            stream.set_display_rotation(turn)
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(films.solid(3, 64, 48), "rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("ratio", "turn", "shape"),
    # 64x48 with pixels 3:2 is 96x48 on the display; turned 48x96. 1:20 is an error of the header: 64x48.
    [("3/2", 0, (48, 96)), ("3/2", 90, (48, 24)), ("1/20", 0, (48, 64))],
)
def test_pixels_that_are_not_square(tmp_path: Path, ratio: str, turn: int, shape: tuple[int, int]) -> None:
    (made,) = pictures(wide_pixels(tmp_path / "x.mp4", Fraction(ratio), turn), [0.0], 48)
    assert made.rgb.shape == (*shape, 3)


def test_very_wide_pictures_are_less_high(tmp_path: Path) -> None:
    path = films.solid_film(tmp_path / "x.mp4", [0, 100], size=(512, 16))
    (made,) = pictures(path, [0.0], 20)
    assert made.rgb.shape == (2, 20 * WIDEST, 3)  # 80 px wide, 80 * 16 / 512 = 2.5, rounded to even


@pytest.mark.parametrize(
    ("height", "width", "box", "expected"),
    [
        (720, 1280, (120, 480), (120, 213)),
        (100, 1000, (120, 480), (48, 480)),
        (4000, 1, (120, 480), (120, 1)),
        (0, 5, (9, 7), (9, 7)),
    ],
)
def test_shrunk(height: float, width: float, box: tuple[int, int], expected: tuple[int, int]) -> None:
    assert shrunk(height, width, box) == expected


def test_what_cannot_be_read_is_a_video_error(tmp_path: Path, film: Path) -> None:
    with pytest.raises(VideoError, match="no such file"):
        thumbnails(tmp_path / "gone.mp4", [0.0])
    (tmp_path / "text.mp4").write_text("ffconcat version 1.0\nfile film.mp4\n")
    with pytest.raises(VideoError) as caught:
        thumbnails(tmp_path / "text.mp4", [0.0])
    assert caught.value.kind == "unreadable"
    assert thumbnails(tmp_path / "gone.mp4", []) == []


def test_what_is_still_there_of_a_film_cut_short(tmp_path: Path, film: Path) -> None:
    path = film_of(tmp_path / "whole.ts")
    (tmp_path / "half.ts").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    made = shown(pictures(tmp_path / "half.ts", [0.5, 1.5, 5.5]))
    assert made[:2] == [(0.5, 5), (1.5, 15)]
    assert all(index < 40 for _, index in made)


@pytest.mark.parametrize("times", [[-1.0], [float("nan")], [float("inf")], list(range(MOST_TIMES + 1))])
def test_times_that_make_no_sense(film: Path, times: list[float]) -> None:
    with pytest.raises(ValueError, match="times_s"):
        thumbnails(film, times)


@pytest.fixture
def odd(tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Thumbnail]]:
    """odd(deed): what comes of a decoder that does this in the middle, see `odd_decoders.py`."""
    monkeypatch.setenv("PYTHONPATH", str(Path(films.__file__).parent))
    monkeypatch.setenv("ODD_LOG", str(tmp_path / "opened"))
    monkeypatch.setattr(module, "LIMITS", Limits(floor_s=5.0, multiple=0.0, stall_s=1.0))

    def collect(deed: str) -> list[Thumbnail]:
        path = Path(shutil.copy(film, tmp_path / f"odd-{deed}.mp4"))
        lanes = tuple(Lane(Grid(1.0, 2, time_s), 0) for time_s in (1.0, 2.0))
        setup = Setup((Geometry((32, 64)),), lanes, 2, 1 << 30)
        return module._collect(Job(str(path), "odd_decoders:odd"), setup)

    return collect


def test_a_decoder_that_hangs_or_lies_is_stopped_and_what_it_gave_is_kept(
    odd: Callable[[str], list[Thumbnail]],
) -> None:
    for deed in ("hangs_in_c", "says_slot_minus"):
        assert [made.time_s for made in odd(deed)] == [0.0, 1.0, 2.0], deed


def test_a_decoder_that_dies_at_once_is_a_video_error(odd: Callable[[str], list[Thumbnail]]) -> None:
    with pytest.raises(VideoError) as caught:
        odd("opens_and_dies")
    assert caught.value.kind == "crashed"
