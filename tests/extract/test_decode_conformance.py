"""One body for all decoding backends: films we made (times and pixels known), and the awkward files of the
world.

`KNOWN_WRONG` is the list of what a backend gets wrong. Each entry is checked to be still wrong, so it
cannot rot.
"""

import json
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import decode_films as films
import numpy as np
import pytest
from nightreel.extract.decode.open import BACKENDS, open_video
from nightreel.extract.errors import UsageError, VideoError

AWKWARD = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "awkward"

KNOWN_WRONG: dict[str, dict[str, str]] = {
    "pyav": {},
    "decord": {
        "sample_edit_list.mp4": "ignores the edit list: 86 frames, not 77, the first at -0.467 s",
        "sample_edit_list_only_preroll_sync_sample.mp4": "ignores the edit list: 17 frames, not 16",
        "dolbyVision-hdr.MOV": "ignores the edit list: 5 frames, not 4",
        "sample_sef_super_slow_motion.mp4": "ignores the edit list: 436 frames, not 435",
        "no_duration.webm": "does not open: no duration in the header",
        "nasa_13013.mp4": "takes the largest video stream, not the first",
        "made: late.ts": "does not open: an MPEG-TS of a dozen frames at a varying rate has no frame count",
        "made: avi of delayed frames": "gives no time (-2^63 ticks) to frames that AVI stores out of order",
        "made: mirrored": "reads the angle of the display matrix, not the mirror",
    },
}
# Right or wrong by chance (threads), so neither is asserted: 27 or 28 frames before the fault.
FLAKY = {"decord": {"corrupted.mp4", "sample_with_invalid_nalu.mp4"}}  # 25 or 26, 27 or 28 frames by chance
# Right, but over 0.3 s each (11 s together); `benchmarks/decode.py` covers them.
SLOW = {
    "decord": {
        "7f456f_sample.video.mp4",
        "8k24fps_300ms.mp4",
        "bbb_1920x1080_60fps_vp8.webm",
        "big_buck_bunny_0_30.webm",
        "edit_list_positive_shift.mp4",
        "hdr10-av1.mp4",
        "mv_with_2_top_shots.mp4",
        "pixel-motion-photo-2-hevc-tracks.mp4",
        "sample_fragmented_seekable_multiple_sidx.mp4",
        "smpte-2997.mp4",
        "sowt-with-video.mov",
        "testvideo.mp4",
        "video_dovi_1920x1080_60fps_dvav_09.mp4",
    }
}


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(path: Path, backend: str, tier: str = "exact") -> tuple[list[float], list[Any]]:
    """(times, pictures); pictures are converted only after all is decoded, which a frame must survive."""
    with open_video(path, backend, tier) as reader:
        frames = list(reader.frames())
    return [frame.time_s for frame in frames], [frame.rgb() for frame in frames]


def right_or_known_wrong(backend: str, case: str) -> AbstractContextManager[Any]:
    """Expect a failure if, and only if, `KNOWN_WRONG` lists this made film."""
    if f"made: {case}" in KNOWN_WRONG[backend]:
        return pytest.raises((AssertionError, VideoError))
    return nullcontext()


def assert_times(got_s: list[float], pts_ms: list[int]) -> None:
    """Within a tick of the coarsest container (1 ms) of what was written, less the first."""
    expected_s = [(stamp - pts_ms[0]) / 1000 for stamp in pts_ms]
    assert got_s == pytest.approx(expected_s, abs=1.1e-3)


CONSTANT_MS = list(range(0, 20 * 40, 40))
VARIABLE_MS = [0, 40, 80, 480, 500, 540, 1540, 1580, 1660, 2000, 2040, 2100]
MAKES = {
    "h264 with B-frames": ("a.mp4", {"options": {"bf": "3", "x264-params": "b-adapt=0:keyint=12"}}),
    "h264 in mkv": ("a.mkv", {}),
    "hevc 10-bit": (
        "a.mkv",
        {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=0"}},
    ),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}}),
    "mpeg4": ("a.mp4", {"codec": "mpeg4"}),
    "ffv1 4:4:4": ("a.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p"}),
    "ffv1 with alpha": ("a.mkv", {"codec": "ffv1", "pix_fmt": "yuva420p"}),
    "full-range h264": ("a.mp4", {"full_range": True}),
    "full-range mjpeg": ("a.mkv", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "full_range": True}),
    "odd size": ("a.mkv", {"codec": "ffv1", "size": (161, 121)}),
}


@pytest.mark.parametrize("pts_ms", [CONSTANT_MS, VARIABLE_MS], ids=["constant", "variable"])
@pytest.mark.parametrize("make", MAKES)
def test_every_frame_has_its_time_and_its_pixels(tmp_path: Path, backend: str, make: str, pts_ms: list[int]) -> None:
    name, how = MAKES[make]
    path = films.solid_film(tmp_path / name, pts_ms, **how)
    times_s, pictures = read(path, backend)
    assert_times(times_s, pts_ms)
    assert [films.index_of(picture) for picture in pictures] == list(range(len(pts_ms)))
    width_px, height_px = how.get("size", (64, 48))
    for picture in pictures:
        assert picture.shape == (height_px, width_px, 3)
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous


@pytest.mark.parametrize("name", ["late.mkv", "late.mp4", "late.ts"])
def test_a_late_start_is_subtracted(tmp_path: Path, backend: str, name: str) -> None:
    pts_ms = [stamp + 10_000 for stamp in VARIABLE_MS]
    path = films.solid_film(tmp_path / name, pts_ms)
    with right_or_known_wrong(backend, name):
        times_s, pictures = read(path, backend)
        assert_times(times_s, pts_ms)
        assert [films.index_of(picture) for picture in pictures] == list(range(len(pts_ms)))


@pytest.mark.parametrize(("codec", "b_frames"), [("libx264", 3), ("libx264", 0), ("mpeg4", 2), ("mpeg4", 0)])
def test_avi_has_no_times_but_frames_come_evenly(tmp_path: Path, backend: str, codec: str, b_frames: int) -> None:
    how = {"codec": codec, "options": {"bf": str(b_frames)}, "time_base": Fraction(1, 25)}
    path = films.solid_film(tmp_path / "a.avi", range(16), **how)
    case = "avi of delayed frames" if (codec, b_frames) != ("mpeg4", 0) else "avi"
    with right_or_known_wrong(backend, case):
        times_s, pictures = read(path, backend)
        assert times_s == pytest.approx([i / 25 for i in range(16)], abs=1e-6)
        assert [films.index_of(picture) for picture in pictures] == list(range(16))


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("mirror", [(False, False), (True, False), (False, True)], ids=["", "left-right", "up-down"])
def test_pictures_are_upright(tmp_path: Path, backend: str, degrees: int, mirror: tuple[bool, bool]) -> None:
    stored = films.corners(64, 48)
    path = films.make_film(tmp_path / "turned.mp4", [stored] * 2, [0, 40], turn=(degrees, *mirror))
    expected = np.rot90(stored, degrees // 90)  # counter-clockwise, as the display matrix
    expected = expected[:: -1 if mirror[1] else 1, :: -1 if mirror[0] else 1]
    with (
        right_or_known_wrong(backend, "mirrored" if any(mirror) else "turned"),
        open_video(path, backend) as reader,
    ):
        assert (reader.facts.height_px, reader.facts.width_px) == expected.shape[:2]
        if not any(mirror):
            assert abs(reader.facts.rotation_deg) == abs(degrees)
        picture = next(iter(reader.frames())).rgb()
        assert picture.shape == expected.shape
        assert np.abs(picture.astype(int) - expected).mean() < 12


@pytest.mark.parametrize(("matrix", "size"), [(1, (64, 48)), (5, (1280, 16)), (None, (64, 48))])
def test_the_tagged_colour_matrix_is_used(
    tmp_path: Path, backend: str, matrix: int | None, size: tuple[int, int]
) -> None:
    green = np.full((size[1], size[0], 3), (30, 200, 60), np.uint8)
    path = films.make_film(tmp_path / "green.mkv", [green], [0], codec="libx264", matrix=matrix, options={"crf": "1"})
    _, (picture,) = read(path, backend)
    assert np.abs(picture.astype(int) - green).max() <= 6  # the wrong matrix is off by 15 and more


def test_grey_is_grey(tmp_path: Path, backend: str) -> None:
    pictures = [np.full((48, 64, 3), level, np.uint8) for level in (0, 60, 130, 255)]
    path = films.make_film(
        tmp_path / "grey.mkv", pictures, [0, 40, 80, 120], codec="ffv1", pix_fmt="gray", full_range=True
    )
    _, got = read(path, backend)
    assert [int(picture.mean()) for picture in got] == pytest.approx([0, 60, 130, 255], abs=2)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (10, 12), (48, 64), (161, 121)])
def test_lines_do_not_slip_at_any_width(tmp_path: Path, backend: str, size: tuple[int, int]) -> None:
    stored = films.corners(*size)
    path = films.make_film(tmp_path / "size.mkv", [stored] * 2, [0, 40], codec="ffv1", pix_fmt="yuv444p")
    _, pictures = read(path, backend)
    for picture in pictures:
        assert np.abs(picture.astype(int) - stored).max() <= 3


def test_limited_range_grey_is_expanded(tmp_path: Path) -> None:
    pictures = [np.full((48, 64, 3), level, np.uint8) for level in (0, 60, 130, 255)]
    quiet = {"x265-params": "log-level=none:lossless=1"}
    path = films.make_film(
        tmp_path / "grey.mkv", pictures, [0, 40, 80, 120], codec="libx265", pix_fmt="gray", options=quiet
    )
    with open_video(path) as reader:
        levels = [int(frame.rgb().mean()) for frame in reader.frames()]
    assert levels[0] == 0
    assert levels[-1] == 255


def test_keyframe_tier_tells_true_times(tmp_path: Path, backend: str) -> None:
    options = {"bf": "0", "x264-params": "keyint=5:min-keyint=5:scenecut=0"}
    path = films.solid_film(tmp_path / "keys.mp4", CONSTANT_MS, options=options)
    times_s, pictures = read(path, backend, "keyframe")
    assert times_s == pytest.approx([0.0, 0.2, 0.4, 0.6], abs=1e-3)
    assert [films.index_of(picture) for picture in pictures] == [0, 5, 10, 15]


def test_facts_of_a_plain_film(tmp_path: Path, backend: str) -> None:
    path = films.solid_film(tmp_path / "plain.mp4", CONSTANT_MS)
    with open_video(path, backend) as reader:
        facts = reader.facts
    assert (facts.width_px, facts.height_px, facts.rotation_deg) == (64, 48, 0)
    assert (facts.start_s, facts.codec, facts.frames_expected) == (0.0, "h264", 20)
    assert facts.fps == pytest.approx(25, rel=0.01)
    assert facts.duration_s == pytest.approx(0.8, abs=0.05)


def test_words_that_are_off_name_the_right_ones(tmp_path: Path, backend: str) -> None:
    with pytest.raises(UsageError, match=r"unknown decoding backend 'pyva'; expected one of pyav, decord; did you"):
        open_video(tmp_path / "any.mp4", "pyva")
    with pytest.raises(UsageError, match=r"tier 'fast'; expected one of exact"):
        open_video(tmp_path / "any.mp4", backend, "fast")


def test_what_cannot_be_opened_says_why(tmp_path: Path, backend: str) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    for name, words in (("absent.mp4", "no such file"), (".", "a folder"), ("text.mp4", "Invalid data")):
        with pytest.raises(VideoError, match=words) as caught:
            open_video(tmp_path / name, backend)
        assert (caught.value.kind, caught.value.stage) == ("unreadable", "open")


# --- the awkward files ---


@pytest.fixture(scope="module")
def awkward() -> dict[str, tuple[dict[str, dict[str, Any]], str]]:
    """By backend: (facts by file, stderr of the child). Both children run at once."""
    if not (AWKWARD / "expected.jsonl").is_file():
        pytest.skip(f"the awkward files are not there: {AWKWARD}")
    names = [row["file"] for row in expected_rows()]
    children = {
        backend: films.start_child(backend, [AWKWARD / name for name in names if name not in SLOW.get(backend, ())])
        for backend in BACKENDS
    }
    return {backend: films.child_results(child, timeout_s=120) for backend, child in children.items()}


def expected_rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (AWKWARD / "expected.jsonl").read_text().splitlines()]


def differences(expected: dict[str, Any], got: dict[str, Any] | None) -> list[str]:
    """In words, where `got` is not what a right reader finds."""
    if got is None:
        return ["the backend crashed or hung on it, or on a file before it"]
    keys = ["outcome", "frames"]
    if expected["frames"] and got["frames"]:
        keys += ["display_width", "display_height", "rotation_deg", "monotonic_pts"]
        got = got | {
            "first_pts_s": got["first_s"] + got["start_s"],
            "last_pts_s": got["last_s"] + got["start_s"],
        }
        if tuple(got["shape"]) != (expected["display_height"], expected["display_width"], 3):
            return [f"shape {got['shape']}"]
    wrong = [f"{key} {got.get(key)}, expected {expected[key]}" for key in keys if got.get(key) != expected[key]]
    for key in ("first_pts_s", "last_pts_s"):
        if key in expected and key in got and abs(got[key] - expected[key]) > 2e-4:
            wrong.append(f"{key} {got[key]}, expected {expected[key]}")
    return wrong


def test_awkward_files_are_read_right(awkward: Any, backend: str) -> None:
    found, _ = awkward[backend]
    ignored = SLOW.get(backend, set()) | FLAKY.get(backend, set()) | set(KNOWN_WRONG[backend])
    rows = [row for row in expected_rows() if row["file"] not in ignored]
    wrong = {row["file"]: differences(row, found.get(row["file"])) for row in rows}
    assert {name: words for name, words in wrong.items() if words} == {}


def test_known_wrong_is_still_wrong(awkward: Any, backend: str) -> None:
    found, _ = awkward[backend]
    rows = {row["file"]: row for row in expected_rows()}
    awkward_names = [name for name in KNOWN_WRONG[backend] if not name.startswith("made: ")]
    cured = [name for name in awkward_names if not differences(rows[name], found.get(name))]
    assert cured == [], "right by now: take it off KNOWN_WRONG"


def test_libav_says_nothing_on_stderr(awkward: Any) -> None:
    _, stderr = awkward["pyav"]
    assert stderr == ""
