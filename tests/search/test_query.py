"""Queries: parts averaged as unit vectors, what is subtracted, and every way to ask wrongly."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.extract.errors import UsageError
from nightreel.search.query import NOT_WEIGHT, Query, as_texts, parse_span, read_image, seconds, unit
from PIL import Image

TOY = ToyEncoder()
RED, GREEN, BLUE = TOY.encode_text(["red", "green", "blue"])


class Silent(ToyEncoder):
    spec = "silent"
    has_text = False


def picture(path: Path, colour: tuple[int, ...], mode: str = "RGB", **options: Any) -> Path:
    Image.new(mode, (6, 4), colour).save(path, **options)
    return path


def test_one_sentence_is_its_own_vector() -> None:
    assert np.allclose(Query(("red",)).embed(lambda: TOY), RED, atol=1e-6)


def test_several_sentences_are_averaged() -> None:
    assert np.allclose(Query(("red", "blue")).embed(lambda: TOY), unit(RED + BLUE), atol=1e-6)


def test_parts_weigh_the_same_whatever_their_number(tmp_path: Path) -> None:
    image = picture(tmp_path / "green.png", (0, 255, 0))
    like = np.repeat(BLUE[None], 7, axis=0)
    vector = Query(("red", "red", "red"), image, like).embed(lambda: TOY)
    assert np.allclose(vector, unit(RED + GREEN + BLUE), atol=1e-6)
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_without_lowers_what_is_not_wanted_and_not_what_is() -> None:
    plain, less = (
        Query(("red", "blue")).embed(lambda: TOY),
        Query(("red", "blue"), without=("blue",)).embed(lambda: TOY),
    )
    assert np.allclose(less, unit(plain - NOT_WEIGHT * BLUE), atol=1e-6)
    assert less @ BLUE < plain @ BLUE
    assert less @ RED > less @ BLUE


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Query(), "nothing to search for"),
        (Query(("",)), "sentence is empty"),
        (Query(("red", " \n")), "sentence is empty"),
        (Query(("red",), without=("",)), "sentence is empty"),
        (Query(without=("red",)), "nothing to search for"),
    ],
)
def test_empty_questions(query: Query, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        query.embed(lambda: TOY)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize("query", [Query(("red",)), Query(like=RED[None], without=("red",))])
def test_a_sentence_for_an_encoder_without_text(query: Query) -> None:
    with pytest.raises(UsageError, match="silent knows no text") as caught:
        query.embed(lambda: Silent())
    assert "--like" in str(caught.value)
    assert np.allclose(Query(like=RED[None]).embed(lambda: Silent()), RED)


@pytest.mark.parametrize(
    ("mode", "colour"), [("RGB", (255, 0, 0)), ("RGBA", (255, 0, 0, 255)), ("P", (1,)), ("L", (128,)), ("1", (1,))]
)
def test_pictures_of_every_mode_are_rgb(tmp_path: Path, mode: str, colour: tuple[int, ...]) -> None:
    pixels = read_image(picture(tmp_path / "x.png", colour if len(colour) > 1 else colour[0], mode))  # type: ignore[arg-type]
    assert (pixels.shape, pixels.dtype) == ((4, 6, 3), np.uint8)


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held sideways
    assert read_image(picture(tmp_path / "x.jpg", (9, 9, 9), exif=exif)).shape == (6, 4, 3)


def test_what_is_no_picture_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    for path in (tmp_path / "text.png", tmp_path / "empty.png", tmp_path, tmp_path / "missing.png"):
        with pytest.raises(UsageError, match=r"Expected a PNG, JPEG or WebP file") as caught:
            read_image(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp"])
def test_a_damaged_picture_is_read_or_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(noise).save(path)
    whole, random, refused = path.read_bytes(), np.random.default_rng(1), 0
    for n in range(60):
        at = int(random.integers(len(whole)))
        path.write_bytes(whole[:at] if n % 2 else whole[:at] + os.urandom(3) + whole[at + 3 :])
        try:
            assert read_image(path).ndim == 3
        except UsageError:
            refused += 1
    assert refused


# --- spans and clocks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("75", 75), ("75.5", 75.5), ("1:15", 75), ("0:01:15", 75), ("1:02:03.25", 3723.25), ("0", 0)],
)
def test_clocks_as_documented(text: str, expected: float) -> None:
    assert seconds(text) == expected


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 99))
def test_three_spellings_of_a_time_agree(hours: int, minutes: int, secs: int, hundredths: int) -> None:
    total = hours * 3600 + minutes * 60 + secs + hundredths / 100
    assert seconds(f"{hours}:{minutes:02d}:{secs:02d}.{hundredths:02d}") == pytest.approx(total)
    assert seconds(f"{hours * 60 + minutes}:{secs}.{hundredths:02d}") == pytest.approx(total)
    assert seconds(f"{total:.2f}") == pytest.approx(total)


@given(st.text(min_size=1), st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_span_is_read_back_whatever_the_name(name: str, start: int, length: int) -> None:
    assert parse_span(f"{name}@{start}-{start + length}") == (name, start, start + length)


@pytest.mark.parametrize(
    "text",
    "a.mp4 a.mp4@ @1-2 a@1 a@-2 a@1- a@2-1 a@2-2 a@x-y a@nan-2 a@0-nan a@0-inf a@1:-5-70 a@1e2-1e3 a@1_0-20 "
    "a@1:2:3:4-9999999 a@--1-2".split(),
)
def test_bad_spans_say_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected VIDEO@START-END.*tape.mp4@12-20"):
        parse_span(text)


def test_one_text_or_several() -> None:
    assert (as_texts(None), as_texts("a b"), as_texts(["a", "b"])) == ((), ("a b",), ("a", "b"))


def test_unit_of_nothing_is_nothing() -> None:
    assert np.array_equal(unit(np.zeros(3, np.float32)), np.zeros(3))
