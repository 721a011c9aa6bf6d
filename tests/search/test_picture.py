"""The picture of `ground --plot`: what is on it, where, and that it is drawn whatever comes."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.errors import UsageError
from nightreel.search.curve import Curve, make_curve
from nightreel.search.picture.drawing import _our_style, draw, picture_format, picture_times
from nightreel.search.picture.lines import Line, Span
from nightreel.search.picture.measures import BEST_SHADE, CURVE, LEFT_PX, PLOT_PX, SHADE
from nightreel.search.picture.page import make_page, places_for
from nightreel.search.picture.row import envelope, lanes_for
from nightreel.search.picture.thumbnails import Thumbnail
from PIL import Image, ImageColor


def line_of(scores: Sequence[float], moments: Sequence[Span] = (), label: str = "a dog", step_s: float = 1.0) -> Line:
    start = np.arange(len(scores)) * step_s
    return Line(label, start, start + step_s, np.asarray(scores, float), moments)


def film(count: int = 8, duration_s: float = 20.0, shape: tuple[int, int] = (36, 64)) -> list[Thumbnail]:
    times = [(i + 0.5) * duration_s / count for i in range(count)]
    return [Thumbnail(time_s, np.full((*shape, 3), (40, 90, 60), np.uint8)) for time_s in times]


HILL = [0, 1, 0, 2, 1, 5, 6, 7, 6, 5, 1, 0, 1, 0, 2, 3, 2, 0, 1, 0]
MOMENTS = (Span(5, 10, 0.92), Span(14, 17, 0.4), Span(4, 11, None))


def page(
    *lines: Line, thumbnails: Sequence[Thumbnail] = (), title: str = "a dog", note: str = "", duration_s: float = 0.0
) -> Any:
    with _our_style(["DejaVu Sans"]):
        return make_page(
            title, "film.mp4", [note] if note else [], [line.label for line in lines], lines, thumbnails, duration_s
        )


def texts_of(figure: Any) -> list[Any]:
    drawn = [axes for axes in figure.axes if not axes.images]
    ticks = [text for axes in drawn if axes.axison for text in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    return [text for text in (*figure.texts, *(t for axes in drawn for t in axes.texts), *ticks) if text.get_text()]


def words_of(figure: Any) -> list[str]:
    return [text.get_text() for text in texts_of(figure)]


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def is_colour(pixels: np.ndarray, colour: str, tolerance: int = 40) -> np.ndarray:
    return np.abs(pixels - np.array(ImageColor.getrgb(colour))).max(-1) <= tolerance


def columns(start_s: float, stop_s: float, end_s: float) -> slice:
    """Of the plot, a pixel inside."""
    return slice(*(round(LEFT_PX + PLOT_PX * at / end_s + more) for at, more in ((start_s, 3), (stop_s, -3))))


def test_a_picture_says_where_it_is(tmp_path: Path) -> None:
    draw(tmp_path / "out.png", "a dog\nfilm.mp4", [line_of(HILL, MOMENTS)], film(), 20.0)
    pixels = pixels_of(tmp_path / "out.png")
    assert pixels.shape == (800, 1600, 3)
    best, others = is_colour(pixels, BEST_SHADE, 4)[:, :1180], is_colour(pixels, SHADE, 2)
    assert best[:, columns(5, 10, 20)].any(0).all()
    assert not best[:, columns(0, 5, 20)].any()
    assert not best[:, columns(10, 20, 20)].any()
    assert others[:, columns(14, 17, 20)].sum(0).min() > 100
    assert others[:, columns(17, 20, 20)].sum(0).max() < 100
    assert is_colour(pixels, CURVE)[:, columns(0, 20, 20)].any(0).all()
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_what_it_says() -> None:
    words = words_of(page(line_of(HILL, MOMENTS), thumbnails=film(), note="older scores"))
    for expected in (
        "a dog",
        "film.mp4",
        "older scores",
        "1   0:05.0 – 0:10.0   92 %",
        "0:14.0 – 0:17.0",
        "40 %",
        "0:00",
        "0:20",
    ):
        assert expected in words
    assert words.count("a dog") == 1  # not again over the only curve
    assert words.count("2") == words.count("3") == 2  # at the bar and in the list
    assert "NO MATCH" not in words


def test_no_match_is_said_plainly() -> None:
    for line in (line_of(HILL, [Span(5, 10, 0.3)]), line_of(HILL)):
        figure = page(line, thumbnails=film())
        assert "NO MATCH" in words_of(figure)
        faces = [patch.get_facecolor() for axes in figure.axes for patch in axes.patches]
        assert all(
            np.abs(np.subtract(face[:3], [c / 255 for c in ImageColor.getrgb(BEST_SHADE)])).max() > 0.1
            for face in faces
        )
    assert "NO MATCH" not in words_of(page(line_of(HILL, [Span(5, 10, None)])))


def test_frames_that_could_not_be_read_are_told_of() -> None:
    assert any("could not be read" in words for words in words_of(page(line_of(HILL))))
    assert not any("could not be read" in words for words in words_of(page(line_of(HILL), thumbnails=film(3))))


def test_several_sentences_have_a_row_each() -> None:
    a, b = line_of(HILL, [Span(5, 10, 0.9)], "a dog"), line_of(HILL[::-1], [Span(10, 15, 0.8)], "a cat")
    words = words_of(page(a, b, title="a dog, then a cat"))
    assert {"a dog", "a cat", "1   0:05.0 – 0:10.0   90 %", "1   0:10.0 – 0:15.0   80 %"} <= set(words)
    assert page(a, b, a, b).get_figheight() > 8


HOURS = line_of(
    np.random.default_rng(0).normal(size=11_000), [Span(9000 + i, 9030 + 2 * i, 0.9 - i / 20) for i in range(12)]
)


@pytest.mark.parametrize(
    "lines",
    [
        [line_of(HILL, MOMENTS)],
        [line_of([0.3], [Span(0, 1, 0.9)])],
        [HOURS],
        [line_of(HILL, [Span(0, 0.1, 0.9)]), line_of(HILL, [Span(19.9, 20, 0.2)])],
        [line_of(HILL, MOMENTS, "x" * 300)] * 4,
        [line_of(HILL * 1800, [Span(1, 35_999, 0.9)])],
    ],
    ids=["clip", "one segment", "hours", "at the edges", "four", "ten hours"],
)
def test_nothing_hangs_over_and_no_words_collide(lines: list[Line]) -> None:
    figure = page(*lines, thumbnails=film(9), title="what " * 100, note="note " * 100)
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts_of(figure)]
    width, height = figure.bbox.size
    for words, box in boxes:
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, words  # noqa: PT018
    for i, (words, box) in enumerate(boxes):
        for other, its in boxes[i + 1 :]:
            wide, high = min(box.x1, its.x1) - max(box.x0, its.x0), min(box.y1, its.y1) - max(box.y0, its.y0)
            assert wide <= 1 or high <= 1, (words, other)


def test_pictures_keep_their_proportions_and_the_best_moment_has_its_own() -> None:
    for shape in ((36, 64), (64, 36), (16, 64)):
        thumbnails = [*film(8, shape=shape), Thumbnail(7.5, np.zeros((*shape, 3), np.uint8))]
        figure = page(line_of(HILL, MOMENTS), thumbnails=thumbnails)
        shown = [axes for axes in figure.axes if axes.images]
        assert len(shown) == 9
        boxes = [axes.get_window_extent() for axes in shown]
        assert all(box.width / box.height == pytest.approx(shape[1] / shape[0], rel=1e-3) for box in boxes)
        assert max(boxes, key=lambda box: box.width).x0 > LEFT_PX + PLOT_PX
        middles = sorted((box.x0 + box.x1) / 2 for box in boxes)[:8]
        assert middles == pytest.approx(
            [LEFT_PX + PLOT_PX * (i + 0.5) / 8 for i in range(8)], abs=1
        )  # under their times


def test_the_peak_of_one_second_in_hours_is_seen_and_gaps_are_empty(tmp_path: Path) -> None:
    scores = np.zeros(11_000)
    scores[4000] = 1.0
    start = np.arange(11_000.0)
    start[8000:] += 5000  # nothing is known of 5000 s
    draw(tmp_path / "out.png", "q", [Line("q", start, start + 1, scores, [])], film(8, 16_000), 16_000)
    curve = is_colour(pixels_of(tmp_path / "out.png"), CURVE)
    top, bottom = np.flatnonzero(curve.any(1))[[0, -1]]
    assert bottom - top > 300
    assert np.flatnonzero(curve[top + 5]) == pytest.approx(LEFT_PX + PLOT_PX * 4000.5 / 16_000, abs=2)
    assert not curve[:, columns(8000, 13_000, 16_000)].any()
    assert curve[:, columns(13_000, 16_000, 16_000)].any(0).all()


def test_printed_grey_the_shades_differ() -> None:
    grey = [
        Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)) for colour in (CURVE, BEST_SHADE, SHADE, "white")
    ]
    assert np.diff(grey).min() > 15  # darkest to lightest


ODD = "$x^2$ \\frac %s 電\x00\u202e\udcff\U0001f600\ue000 " + "a\u0301" * 3


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_equal_input_gives_equal_bytes_whatever_the_words(tmp_path: Path, ending: str) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    for name in ("a", "b"):
        with matplotlib.rc_context({"font.size": 30.0 if name == "b" else 10.0, "figure.facecolor": "red"}):
            draw(
                tmp_path / f"{name}.{ending.upper()}", f"{ODD}\n{ODD}", [line_of(HILL, MOMENTS, ODD)], film(), 20.0, ODD
            )
    assert dict(matplotlib.rcParams) == before
    a, b = ((tmp_path / f"{name}.{ending.upper()}").read_bytes() for name in "ab")
    assert a == b
    assert b"Date" not in a.replace(b"dc:date", b"Date")


def test_other_endings_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in '.jpg'; expected .png, .svg, .pdf. Try: --plot .*x.png"):
        picture_format(tmp_path / "x.jpg")
    with pytest.raises(UsageError, match="without an ending"):
        draw(tmp_path / "x", "q", [line_of(HILL)], [], 20.0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        draw(tmp_path / "file" / "x.png", "q", [line_of(HILL)], [], 20.0)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_bad_lines(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lines: got none"):
        draw(tmp_path / "x.png", "q", [], [], 20.0)
    with pytest.raises(ValueError, match="got no segments"):
        draw(tmp_path / "x.png", "q", [line_of([])], [], 20.0)
    with pytest.raises(ValueError, match="finite"):
        draw(tmp_path / "x.png", "q", [line_of([0.0, np.nan])], [], 20.0)
    assert not list(tmp_path.iterdir())


def test_it_loads_no_display_and_nothing_before_it_draws() -> None:
    code = (
        "import sys; from pathlib import Path; from nightreel.search.picture import drawing as picture; "
        "from nightreel.search.picture.lines import Line; "
        "assert 'matplotlib' not in sys.modules; import numpy as np; x = np.arange(3.0); "
        "picture.draw(Path(sys.argv[1]), 'q', [Line('q', x, x + 1, x, [])], [], 3.0); "
        "print(sorted({'matplotlib.pyplot', 'tkinter', 'PyQt6'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code, "/dev/null.png"], capture_output=True, text=True, check=False)
    assert out.stdout.strip() == "[]", out.stderr


def test_which_pictures_to_ask_for() -> None:
    assert picture_times([line_of(HILL, MOMENTS), line_of(HILL)], 16.0, 4) == [
        2.5,
        7.5,
        12.5,
        17.5,
        7.5,
    ]  # 20 s are known


@pytest.mark.parametrize(
    ("spans", "lanes", "expected"),
    [
        ([(0, 100), (50, 60), (110, 200), (55, 56)], 2, [0, 1, 0, None]),
        ([(10, 11), (20, 21), (40, 41)], 1, [0, None, 0]),
    ],
)
def test_lanes(spans: list[tuple[float, float]], lanes: int, expected: list[int | None]) -> None:
    assert lanes_for(spans, lanes) == expected


@given(st.lists(st.floats(0, 1), max_size=9).map(sorted), st.integers(9, 12))
def test_every_picture_has_a_place_of_its_own_in_order(times: list[float], places: int) -> None:
    made = places_for(times, places)
    assert made == sorted(set(made))
    assert all(0 <= place < places for place in made)
    assert places_for([0.1, 0.15, 0.9], 4) == [0, 1, 3]


def slow_envelope(curve: Curve, end_s: float, count: int) -> np.ndarray:
    """(2, count) column by column, cell by cell."""
    out = np.full((2, count), np.nan)
    edges = np.linspace(0, end_s, count + 1)
    for i in range(count):
        cells = zip(curve.edges[:-1], curve.edges[1:], curve.z, curve.seen, strict=True)
        z = [z for start, end, z, seen in cells if seen and start < edges[i + 1] and end > edges[i]]
        if z:
            out[:, i] = min(z), max(z)
    return out


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(-9, 9)), min_size=1, max_size=30),
    st.integers(1, 40),
)
def test_envelope_equals_the_plain_way(steps: list[tuple[int, int, int]], count: int) -> None:
    gaps, lengths, scores = (np.array(column, float) for column in zip(*steps, strict=True))
    end = np.cumsum(gaps + lengths)
    curve = make_curve(scores, end - lengths, end)
    edges, low, high = envelope(curve, float(end[-1]) + 2.0, count)
    assert len(edges) == count + 1
    np.testing.assert_array_equal(np.stack([low, high]), slow_envelope(curve, float(end[-1]) + 2.0, count))
