"""Queries: unit vectors added by weight, what is subtracted, templates, and every way to ask wrongly."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.extract.errors import UsageError
from nightreel.search.query import (
    MOST_WEIGHT,
    NOT_WEIGHT,
    Query,
    as_texts,
    boosted,
    combined,
    embed_texts,
    parse_span,
    phrases,
    read_image,
    seconds,
    unit,
    weighed,
    weighed_path,
)
from PIL import Image

TOY = ToyEncoder()
RED, GREEN, BLUE = TOY.encode_text(["red", "green", "blue"])


class Silent(ToyEncoder):
    spec = "silent"
    has_text = False


class Captioned(ToyEncoder):
    """Learned from captions that have a colour of their own, so that the way through a template shows."""

    templates = ("{}", "{} on blue")

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.append(list(texts))
        return super().encode_text(texts)


def picture(path: Path, colour: tuple[int, ...], mode: str = "RGB", **options: Any) -> Path:
    Image.new(mode, (6, 4), colour).save(path, **options)
    return path


def test_one_sentence_is_its_own_vector() -> None:
    assert np.allclose(Query(("red",)).embed(lambda: TOY), RED, atol=1e-6)


def test_several_sentences_are_averaged() -> None:
    assert np.allclose(Query(("red", "blue")).embed(lambda: TOY), unit(RED + BLUE), atol=1e-6)


def test_footage_is_one_part_whatever_its_length_and_each_sentence_is_one(tmp_path: Path) -> None:
    image = picture(tmp_path / "green.png", (0, 255, 0))
    like = np.repeat(BLUE[None], 7, axis=0)
    vector = Query(("red", "red"), image, like).embed(lambda: TOY)
    assert np.allclose(vector, unit(2 * RED + GREEN + BLUE), atol=1e-6)
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_without_lowers_what_is_not_wanted_and_not_what_is() -> None:
    plain, less = (
        Query(("red", "blue")).embed(lambda: TOY),
        Query(("red", "blue"), without=("blue",)).embed(lambda: TOY),
    )
    assert np.allclose(less, unit(plain - NOT_WEIGHT * BLUE), atol=1e-6)
    assert less @ BLUE < plain @ BLUE
    assert less @ RED > less @ BLUE


def test_without_counts_against_all_that_is_wanted_together() -> None:
    once, often = (Query(("red",) * n, without=("blue",)).embed(lambda: TOY) for n in (1, 5))
    assert np.allclose(once, often, atol=1e-6)
    assert np.allclose(once, unit(RED - NOT_WEIGHT * BLUE), atol=1e-6)


def test_parts_that_cancel_out_are_told() -> None:
    for query in (Query(("red",), without=("red^1",)), Query(("red",), like=-RED[None])):
        with pytest.raises(UsageError, match=r"cancel out.*another weight"):
            query.embed(lambda: TOY)


# --- weights --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog on a beach^2", ("a dog on a beach", 2)),
        ("people^0.3", ("people", 0.3)),
        ("tape.mp4@12-20^.5", ("tape.mp4@12-20", 0.5)),
        ("a dog ^2 ", ("a dog", 2)),
        ("a dog^100", ("a dog", 100)),
        ("the graph of x^2^1", ("the graph of x^2", 1)),
        ("^2", ("", 2)),
        ("a dog", ("a dog", None)),
        ("", ("", None)),
    ],
)
def test_a_boost_is_taken_off(text: str, expected: tuple[str, float | None]) -> None:
    assert boosted(text) == expected


@pytest.mark.parametrize(
    "text", "a^b a^ ^ a^2nd a^2. a^2! a^x2 a^- a^. a^2^x a^1_0 a^\u0662 a^\u00b2 a^infinite a^0x1".split()
)
def test_what_looks_like_no_number_is_text(text: str) -> None:
    assert boosted(text) == (text, None)


@pytest.mark.parametrize(
    "number", f"0 0.0 .0 -1 +1 100.001 1e1 1e-3 inf -Inf nan NaN infinity 0,5 1,000 1.2.3 {9:0<400}".split()
)
def test_a_weight_that_is_no_good_is_told(number: str) -> None:
    with pytest.raises(UsageError, match=r"above 0 and at most 100, such as \^0.5") as caught:
        boosted(f"a dog^{number}")
    assert repr(number) in str(caught.value)


@given(st.text(), st.floats(0.001, MOST_WEIGHT))
def test_a_boost_is_read_back_whatever_the_text(text: str, weight: float) -> None:
    assert boosted(f"{text}^{weight:.6f}") == (text.rstrip(), pytest.approx(weight, abs=1e-6))
    assert weighed(f"{text} word", 0.5) == (f"{text} word", 0.5)


def test_weights_of_every_kind_of_part(tmp_path: Path) -> None:
    image = picture(tmp_path / "green.png", (0, 255, 0))
    query = Query(("red^2", "white"), f"{image}^0.5", BLUE[None], ("black^0.25", "blue"), like_weight=3)
    white, black = TOY.encode_text(["white", "black"])
    wanted = unit(2 * RED + white + 0.5 * GREEN + 3 * BLUE)
    assert np.allclose(query.embed(lambda: TOY), unit(wanted - 0.25 * black - NOT_WEIGHT * BLUE), atol=1e-6)


def test_a_boost_moves_the_question_towards_its_part() -> None:
    plain, more, less = (Query((f"red^{w}", "blue")).embed(lambda: TOY) @ RED for w in (1, 2, 0.5))
    assert less < plain < more
    assert np.allclose(
        Query(("red^7",)).embed(lambda: TOY), RED, atol=1e-6
    )  # alone there is nothing to weigh it against


@given(st.lists(st.floats(1e-3, 100), min_size=2, max_size=2), st.floats(1e-3, 1e3))
def test_only_the_ratio_of_weights_counts(weights: list[float], factor: float) -> None:
    assert np.allclose(
        combined([RED, BLUE], weights, [GREEN], [0.5]),
        combined([RED, BLUE], [w * factor for w in weights], [GREEN], [0.5]),
        atol=1e-6,
    )


def test_a_picture_with_the_whole_name_is_meant_as_it_stands(tmp_path: Path) -> None:
    plain = picture(tmp_path / "sky.png", (0, 0, 255))
    assert weighed_path(f"{plain}^2") == (plain, 2)
    odd = picture(tmp_path / "sky.png^2", (255, 0, 0), format="png")
    assert weighed_path(f"{plain}^2") == weighed_path(odd) == (odd, 1)
    assert weighed_path(f"{odd}^3") == (odd, 3)
    assert weighed_path("x" * 5000) == (Path("x" * 5000), 1)
    with pytest.raises(UsageError, match=r"no such picture: nowhere\.png"):
        Query(image="nowhere.png^2").embed(lambda: TOY)


# --- templates ------------------------------------------------------------------------------------------------


def test_short_texts_go_through_every_template_and_long_ones_as_they_are() -> None:
    encoder = Captioned()
    short, long = embed_texts(encoder, ["red", "a red thing there"])
    assert encoder.asked == [["red", "red on blue", "a red thing there"]]  # one call
    assert np.allclose(short, unit(unit(RED) + TOY.encode_text(["red and blue"])[0]), atol=1e-6)
    assert np.allclose(long, RED, atol=1e-6)


def test_all_texts_of_a_question_are_one_call() -> None:
    encoder = Captioned()
    vector = Query(("red^2", "a green thing there"), without=("black",)).embed(lambda: encoder)
    assert encoder.asked == [["red", "red on blue", "a green thing there", "black", "black on blue"]]
    red, black = embed_texts(encoder, ["red", "black"])
    assert np.allclose(vector, unit(unit(2 * red + GREEN) - NOT_WEIGHT * black), atol=1e-6)


def test_phrases() -> None:
    templates = ("{}", "a photo of {}.")
    assert phrases("a big dog", templates) == ["a big dog", "a photo of a big dog."]
    assert phrases("a very big dog", templates) == ["a very big dog"]
    assert phrases("{} {0} }{", templates) == ["{} {0} }{", "a photo of {} {0} }{."]


def test_no_texts_need_no_text_encoder() -> None:
    assert embed_texts(Silent(), []).shape == (0, 4)


# --- asked wrongly --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Query(), "nothing to search for"),
        (Query(("",)), "sentence is empty"),
        (Query(("red", " \n")), "sentence is empty"),
        (Query(("^2",)), "sentence is empty"),
        (Query(("red",), without=("red^0",)), "a weight after"),
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


def test_a_boost_is_no_part_of_a_span() -> None:
    assert parse_span("tape.mp4@12-20^2") == ("tape.mp4", 12, 20)
    assert parse_span("a^2@12-20") == ("a^2", 12, 20)
    with pytest.raises(UsageError, match="at most 100"):
        parse_span("tape.mp4@12-20^0")


@pytest.mark.parametrize(
    "text",
    "a.mp4 a.mp4@ @1-2 a@1 a@-2 a@1- a@2-1 a@2-2 a@x-y a@nan-2 a@0-nan a@0-inf a@1:-5-70 a@1e2-1e3 a@1_0-20 "
    "a@1:2:3:4-9999999 a@--1-2 a@1-2^x ^2".split(),
)
def test_bad_spans_say_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected VIDEO@START-END.*tape.mp4@12-20"):
        parse_span(text)


def test_one_text_or_several() -> None:
    assert (as_texts(None), as_texts("a b"), as_texts(["a", "b"])) == ((), ("a b",), ("a", "b"))


def test_unit_of_nothing_is_nothing() -> None:
    assert np.array_equal(unit(np.zeros(3, np.float32)), np.zeros(3))
