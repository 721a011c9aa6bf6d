"""Words and clock times of a picture."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.search.picture.lettering import FAMILY, clock, drawable, percent, printable, tick_step_s


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\x00", "a\\nb\\x00"),
        ("caf\xe9 $x^2$ %s \\n", "caf\xe9 $x^2$ %s \\n"),
        ("bad\udcff\udcfe.mp4", "bad\\xff\\xfe.mp4"),  # bytes of a file name that are no UTF-8
        ("gpj.\u202e4pm", "gpj.\\u202e4pm"),  # would be shown backwards
        ("\ud83d", "\\ud83d"),
        ("a\u2028b\ue000", "a\\u2028b\\ue000"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),  # Persian needs its joiner
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_a_text_of_a_megabyte_is_cut() -> None:
    assert printable("x" * 1_000_000) == "x" * 600 + "…"


@given(st.text(alphabet=st.characters(), max_size=40))
def test_whatever_is_printable_is_one_line_of_valid_text(text: str) -> None:
    made = printable(text)
    assert all(char in "\u200c\u200d" or unicodedata.category(char)[0] != "C" for char in made)
    assert len(made.splitlines()) <= 1
    made.encode()


def test_what_no_font_has_is_escaped() -> None:
    (first, second), families = drawable(["Ж and ☃", "\U000e0100 \u0378"])  # a variation selector; unassigned
    assert first == "Ж and ☃"
    assert second == "\\U000e0100 \\u0378"
    assert families[0] == FAMILY


def test_another_installed_font_is_used_where_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    from nightreel.search.picture import lettering

    fonts = {
        FAMILY: set("abc"),
        "B serif": set("電"),
        "A mono": set("影x"),
        "Last Resort High-Efficiency": set("電影語"),
    }
    monkeypatch.setattr(lettering, "_has", lambda family, char: char in fonts.get(family, ()))
    monkeypatch.setattr(
        "matplotlib.font_manager.fontManager.ttflist", [type("Entry", (), {"name": name}) for name in fonts]
    )
    assert drawable(["a電影語"]) == (["a電影\\u8a9e"], [FAMILY, "A mono", "B serif"])


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((75.0,), "1:15"),
        ((3723.0,), "1:02:03"),
        ((9.96, 0.1), "0:10.0"),
        ((59.96, 0.5), "1:00.0"),
        ((59.6,), "1:00"),
        ((0.5,), "0:01"),
        ((2.5,), "0:03"),  # halves always up, not to the even second
        ((61.0, 1.0, True), "0:01:01"),
        ((35_999.9,), "10:00:00"),
        ((-1e-9, 0.1), "0:00.0"),
    ],
)
def test_clock(args: tuple[float, ...], expected: str) -> None:
    assert clock(*args) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("duration_s", "step_s"), [(5, 0.5), (20, 2), (150, 15), (10_800, 900), (36_000, 3600), (1e-3, 0.1)]
)
def test_tick_step(duration_s: float, step_s: float) -> None:
    assert tick_step_s(duration_s) == step_s


@given(st.floats(1e-3, 1e9))
def test_there_are_never_too_many_ticks(duration_s: float) -> None:
    assert duration_s / tick_step_s(duration_s) <= 12


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(0.923, "92 %"), (0.0, "< 1 %"), (1.0, "> 99 %"), (0.994, "99 %"), (sys.float_info.min, "< 1 %")],
)
def test_percent(confidence: float, expected: str) -> None:
    assert percent(confidence) == expected
