"""Subtitles: both formats by hand, what is no caption, roll-up captions, and files that are broken or hostile."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.errors import UsageError
from nightreel.finetune.captions import subtitles
from nightreel.finetune.captions.subtitles import Cue, beside, captions_of, parse, plain, read_subtitles, subtitle_pairs

SRT = """1
00:00:01,000 --> 00:00:03,500
<i>The dog runs
over the beach.</i>

2
00:00:04,000 --> 00:00:06,000 X1:40 X2:600 Y1:20 Y2:50
{\\an8}JOHN: It&#39;s &quot;fast&quot;, isn't it?

3
01:02:03,250 --> 01:02:05,000
[music playing]
"""

VTT = """WEBVTT - a title

NOTE times are not --\u200b> here

STYLE
::cue { color: lime }

intro
00:01.000 --> 00:03.500 line:0 position:20%
<v Mary>We <c.loud>pour</c> the <00:02.000>batter</v>

1:00:04.000 --> 1:00:06.25
-Now we wait
- for ten minutes
"""


def said(cues: list[Cue]) -> list[tuple[float, float, str]]:
    return [(cue.start_s, cue.end_s, plain(cue.lines)) for cue in cues]


def told(*cues: tuple[float, float, str]) -> list[tuple[float, float, str]]:
    made = [Cue(start_s, end_s, tuple(text.split("|")), n) for n, (start_s, end_s, text) in enumerate(cues)]
    return [(cue.start_s, cue.end_s, cue.lines[0]) for cue in captions_of(made)]


def test_srt_by_hand() -> None:
    cues, bad = parse(SRT)
    assert said(cues) == [
        (1.0, 3.5, "The dog runs over the beach."),
        (4.0, 6.0, "It's \"fast\", isn't it?"),
        (3723.25, 3725.0, ""),
    ]
    assert bad == []
    assert [cue.line for cue in cues] == [2, 7, 11]


def test_webvtt_by_hand() -> None:
    cues, bad = parse(VTT)
    assert said(cues) == [(1.0, 3.5, "We pour the batter"), (3604.0, 3606.25, "Now we wait for ten minutes")]
    assert bad == []


def test_a_cue_without_an_empty_line_before_it() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\none\n2\n00:00:02,000 --> 00:00:03,000\ntwo\r\n\r\n"
    assert said(parse(text)[0]) == [(1.0, 2.0, "one"), (2.0, 3.0, "two")]
    assert said(parse(text.replace("\n", "\r"))[0]) == said(parse(text)[0])


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ("00:00:05,000 --> 00:00:05,000", "expected the start before the end"),
        ("00:00:05,000 --> soon", "expected h:mm:ss,mmm"),
        ("--> 00:00:05,000", "expected h:mm:ss,mmm"),
        ("00:00:00,000 --> 09:00:00,000", "it lasts 32400 s"),
        ("\u0660\u0660:\u0660\u0660:\u0661 --> 00:00:05,000", "expected h:mm:ss,mmm"),
        ("99999999999:00:01 --> 99999999999:00:02", "expected h:mm:ss,mmm"),
    ],
)
def test_a_broken_cue_is_listed_with_its_line_and_the_others_are_used(times: str, reason: str) -> None:
    cues, bad = parse(f"1\n{times}\nlost\n\n2\n00:00:07,000 --> 00:00:08,000\nkept\n")
    assert said(cues) == [(7.0, 8.0, "kept")]
    assert [one.line for one in bad] == ["line 2"]
    assert reason in bad[0].reason


def test_what_is_no_speech_goes() -> None:
    assert plain(["[door creaks] Who (laughs) is there?", "\u266a la la la \u266a"]) == "Who is there?"
    assert plain(["(a very", "long sound) Yes."]) == "Yes."
    assert plain([">> MRS. O'HARA: - hello", "\u2013 Ann: hi"]) == "- hello Ann: hi"
    assert plain(["3 < 4 and 5 > 2, <b>bold</b> &amp; &lt;shown&gt;"]) == "3 2, bold & <shown>"
    assert plain([]) == ""


def test_lines_that_roll_up_are_said_once() -> None:
    # YouTube's automatic captions: each line comes, stands for 10 ms, and stands above the next one.
    assert told(
        (0.0, 2.0, " |today we<00:00:00.500><c> bake a cake</c>"),
        (2.0, 2.01, "today we bake a cake| "),
        (2.01, 4.0, "today we bake a cake|with<00:00:02.500><c> three eggs</c>"),
        (4.0, 4.01, "with three eggs| "),
        (4.01, 6.0, "with three eggs|and some flour"),
    ) == [(0.0, 6.0, "today we bake a cake with three eggs and some flour")]


def test_a_short_cue_that_grows_is_said_once_and_a_short_end_that_comes_again_is_not_taken_for_that() -> None:
    assert told((0.0, 1.0, "hello"), (1.0, 2.0, "hello there my friends")) == [(0.0, 2.0, "hello there my friends")]
    assert told((0.0, 1.0, "look at the dog"), (1.0, 2.0, "the dog runs")) == [
        (0.0, 2.0, "look at the dog the dog runs")
    ]


def test_words_said_again_after_a_while_are_said_again() -> None:
    assert told((0.0, 1.0, "very good indeed"), (5.0, 6.0, "very good indeed")) == [
        (0.0, 1.0, "very good indeed"),
        (5.0, 6.0, "very good indeed"),
    ]


def test_cues_join_up_to_eight_seconds_or_the_end_of_a_sentence() -> None:
    assert told(
        (0.0, 2.0, "First we"),
        (2.0, 5.0, "cut the onions."),  # 5 s and a sentence: the next begins anew
        (5.0, 8.0, "Then we fry"),
        (8.0, 11.0, "them in oil"),
        (11.0, 14.0, "until they are brown"),  # beyond 8 s
        (17.0, 18.0, "after two seconds of silence"),
        (30.0, 31.0, "Done."),  # too short to say anything
    ) == [
        (0.0, 5.0, "First we cut the onions."),
        (5.0, 11.0, "Then we fry them in oil"),
        (11.0, 14.0, "until they are brown"),
        (17.0, 18.0, "after two seconds of silence"),
    ]


def test_times_may_overlap() -> None:
    assert told((0.0, 6.0, "he walks in here"), (1.0, 3.0, "she sits down there")) == [
        (0.0, 6.0, "he walks in here she sits down there")
    ]


def test_which_file_is_of_a_video(tmp_path: Path) -> None:
    video = tmp_path / "Saturday.mp4"
    for name in ("saturday.de.srt", "saturday2.srt", "saturday.final cut.srt", "saturday.txt"):
        (tmp_path / name).touch()
    assert beside(video) == tmp_path / "saturday.de.srt"
    (tmp_path / "saturday.en-GB.vtt").touch()
    assert beside(video) == tmp_path / "saturday.en-GB.vtt"
    (tmp_path / "Saturday.EN.srt").touch()
    assert beside(video) == tmp_path / "Saturday.EN.srt"
    assert beside(video, "de") == tmp_path / "saturday.de.srt"
    (tmp_path / "Saturday.VTT").touch()
    assert beside(video, "de") == tmp_path / "Saturday.VTT"
    assert beside(tmp_path / "sunday.mp4") is None
    assert beside(tmp_path / "nowhere" / "sunday.mp4") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes("1\n00:00:01,000 --> 00:00:02,000\ncaf\u00e9 im B\u00fcro\n".encode(encoding))
    assert said(parse(read_subtitles(path))[0]) == [(1.0, 2.0, "caf\u00e9 im B\u00fcro")]


def test_a_file_that_is_too_large_or_none_is_refused_unread(tmp_path: Path) -> None:
    large = tmp_path / "a.srt"
    with large.open("wb") as file:
        file.truncate(1 << 30)
    for path in (large, tmp_path, tmp_path / "missing.srt"):
        with pytest.raises(UsageError, match="expected subtitles"):
            read_subtitles(path)


def test_captions_of_an_archive_are_weak_and_what_is_broken_is_listed(colours: Any, tmp_path: Path) -> None:
    for name, text in (("red", SRT), ("mixed", "1\n00:00:09,000 --> 00:00:01,000\nx\n")):
        path = tmp_path / f"{name}.mp4"
        colours.add(f"{name}2", ["red"] * 8, path=str(path))
        path.with_suffix(".srt").write_text(text)
    found = subtitle_pairs(colours.store, "toy")
    assert [(pair.video, pair.start_s, pair.end_s, pair.caption, pair.line) for pair in found.pairs] == [
        (
            str(tmp_path / "red.mp4"),
            1.0,
            6.0,
            "The dog runs over the beach. It's \"fast\", isn't it?",
            "red.srt, line 2",
        )
    ]
    assert all(pair.weak and pair.weight == 0.5 for pair in found.pairs)
    assert [one.line for one in found.bad] == ["mixed.srt, line 2"]
    (tmp_path / "red.srt").unlink()
    (tmp_path / "red.srt").mkdir()
    assert [one.line for one in subtitle_pairs(colours.store, "toy").bad] == ["red.srt", "mixed.srt, line 2"]


HOSTILE = {
    "one time, many cues": "00:00:01,000 --> 00:00:02,000\nword\n\n" * 20_000,
    "one endless line": "00:00:01,000 --> 00:00:02,000\n" + "<" * 2_000_000,
    "many lines of one cue": "00:00:01,000 --> 00:00:02,000\n" + "[(\n" * 100_000,
    "brackets": "00:00:01,000 --> 00:00:02,000\n" + "[" * 3000 + "(" * 3000 + ">>" * 3000,
    "spaces before times": " " * 2_000_000 + "--> 00:00:02,000\n",
    "digits": "0" * 2_000_000 + " --> 00:00:02,000\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_takes_no_long_time(text: str) -> None:
    """Done in a second; in quadratic time each would take hours, and this would never end."""
    captions_of(parse(text)[0])


pieces = st.sampled_from(
    ["00:00:01,000 --> 00:00:02,500", "-->", "\n", "\n\n", "1", "WEBVTT", "<i>", "&#0;", "&#x110000;", "[", "\u266a", "\0",
     "a dog runs", "00:00:02.5 --> 00:61:99.9999999", "\u2028", "\udce9"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(pieces | st.text(max_size=10), max_size=30))
def test_any_text_gives_captions_in_order_with_words_and_a_length(parts: list[str]) -> None:
    cues, bad = parse("".join(parts))
    captions = captions_of(cues)
    assert all(cue.start_s < cue.end_s for cue in captions)
    assert [cue.start_s for cue in captions] == sorted(cue.start_s for cue in captions)
    assert all(subtitles.LEAST_WORDS <= len(cue.lines[0].split()) <= subtitles.MOST_WORDS for cue in captions)
    assert len(cues) + len(bad) == sum("-->" in line for line in "".join(parts).replace("\r", "\n").split("\n"))


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.srt"
    path.write_bytes(content)
    captions_of(parse(read_subtitles(path))[0])
