"""Subtitles beside the videos (SRT, WebVTT) as weak captions: what is said while something is shown.

    saturday.mp4      saturday.srt, saturday.vtt, saturday.en.srt ...
    subtitle_pairs(store, slug)       Pairs of weight `WEIGHT`; files and cues that cannot be used are in `bad`

Speech is about what is seen half of the time at best, and not to the second (Miech et al. 2019, "HowTo100M", section 3), so
these captions count less, train only, and help most where there are few of the owner's own.

Cues become captions in three steps: markup, sound descriptions (`[music]`, `(laughs)`, lines with a note sign) and names of
speakers go; words that stand on the screen already go, as roll-up captions (YouTube's automatic ones) show each line two or
three times; cues are joined up to about `ABOUT_S` or the end of a sentence. Captions of less than `LEAST_WORDS` words go too.

It knows no language, and does not translate: of several languages the file without one in its name is taken, else `language`,
else the first by name. Subtitles inside the video file are not read.

Costs 45 us a cue: an hour of speech takes 60 ms.
"""

import html
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...extract.errors import UsageError
from ...extract.store import Store
from .pairs import Pair, Pairs
from .tables import BadRow

WEIGHT = 0.5
ABOUT_S = 8.0  # of a caption; HowTo100M's clips are 4 s, VideoCLIP's up to 32
GAP_S = 2.0  # of silence, after which another caption begins
PAUSE_S = 0.5  # less between two cues is none
LONGEST_S = 60.0  # of a cue; a longer one is a mistake, or a title
LEAST_WORDS = 3
MOST_BYTES = 16 << 20  # a day of speech has 2 MB
MOST_WORDS = 50  # of a caption: what text towers read (CLIP: 77 tokens)
SUFFIXES = (".srt", ".vtt")

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?", re.ASCII)
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")  # HTML, WebVTT's times and voices; ASS positions
_SOUND = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|\uff08[^\uff08\uff09]*\uff09")
_SPEAKER = re.compile(r"^\s*(?:(?:-|\u2013|>>+)\s*)*(?:[A-Z][A-Z0-9 .'\-]{0,24}:\s)?")
_NOTES = re.compile("[\u2669-\u266c]|#\\s*\u266a")
_SENTENCE = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)]*$")


@dataclass(frozen=True, slots=True)
class Cue:
    """Text on the screen in `[start_s, end_s)`; `lines` as they stand in the file."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]
    line: int  # of its times, from 1


# --- files ------------------------------------------------------------------------------------------------------


def subtitle_pairs(store: Store, slug: str, *, language: str = "en", weight: float = WEIGHT) -> Pairs:
    """The captions of all subtitles beside the archive's videos with features of `slug`.

    Args:
        language: as in the files' names (`en`, `en-US`), where there are several.    weight: of each pair.
    """
    extracted = set(store.video_ids(slug))
    pairs: list[Pair] = []
    bad: list[BadRow] = []
    for row in store.videos():
        path = beside(Path(row.path), language) if row.video_id in extracted else None
        if path is None:
            continue
        try:
            cues, broken = parse(read_subtitles(path))
        except UsageError as error:
            bad.append(BadRow(path.name, str(error)))
            continue
        bad += [BadRow(f"{path.name}, {one.line}", one.reason) for one in broken]
        for cue in captions_of(cues):
            pairs.append(
                Pair(
                    row.path, cue.start_s, cue.end_s, cue.lines[0], None, None, weight, f"{path.name}, line {cue.line}"
                )
            )
    return Pairs(tuple(pairs), tuple(bad))


def beside(video: Path, language: str = "en") -> Path | None:
    """The subtitle file of a video: `STEM.srt`, `STEM.vtt`, or with a language between; None where there is none."""
    stem = video.stem.casefold()
    try:
        names = sorted(path for path in video.parent.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError:
        return None
    found = []
    for path in names:
        name, dot, infix = path.stem.casefold().rpartition(".")
        if path.stem.casefold() == stem:
            found.append((0, path))
        elif dot and name == stem and re.fullmatch(r"[a-z]{2,3}([-_][a-z0-9]{2,8})*", infix):
            wanted = re.split("[-_]", infix)[0] == re.split("[-_]", language.casefold())[0]
            found.append((1 if infix == language.casefold() else 2 if wanted else 3, path))
    return min(found, default=(0, None))[1]


def read_subtitles(path: Path) -> str:
    """The file's text: UTF-8 with or without a byte order mark, UTF-16 with one, else Latin-1.

    Raises:
        UsageError: not there, no file, or larger than `MOST_BYTES`.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MOST_BYTES:
            raise UsageError(
                f"{path}: got {facts.st_size} bytes; expected subtitles, a file of at most {MOST_BYTES} bytes."
            )
        content = path.read_bytes()[:MOST_BYTES]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); expected subtitles.") from error
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


# --- cues -------------------------------------------------------------------------------------------------------


def parse(text: str) -> tuple[list[Cue], list[BadRow]]:
    """All cues in order of their starts, and those that are broken with their line.

    Both formats at once: a cue is a line with times, and the lines after it up to an empty one. Numbers, names of cues,
    headers, notes and styles stand outside of that.
    """
    cues: list[Cue] = []
    bad: list[BadRow] = []
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if "-->" not in line:
            continue
        said = []
        while at < len(lines) and lines[at] != "" and "-->" not in lines[at]:
            said.append(lines[at])
            at += 1
        if at < len(lines) and "-->" in lines[at] and said and said[-1].strip().isdecimal():
            said.pop()  # the number of the next cue, without an empty line before it
        one = _cue(line, tuple(said), number)
        if isinstance(one, str):
            bad.append(BadRow(f"line {number}", one))
        else:
            cues.append(one)
    return sorted(cues, key=lambda cue: (cue.start_s, cue.line)), bad


def _cue(times: str, lines: tuple[str, ...], number: int) -> Cue | str:
    """The cue, or why it is broken."""
    found = _TIMES.fullmatch(times)
    if found is None:
        return f"times {times.strip()[:60]!r}, expected h:mm:ss,mmm --> h:mm:ss,mmm"
    start_s, end_s = (_seconds(found.groups()[low : low + 4]) for low in (0, 4))
    if not start_s < end_s:
        return f"times {times.strip()[:60]!r}, expected the start before the end"
    if end_s - start_s > LONGEST_S:
        return f"it lasts {end_s - start_s:g} s, expected at most {LONGEST_S:g}"
    return Cue(start_s, end_s, lines, number)


def _seconds(groups: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = groups
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction or 0}")


# --- captions ---------------------------------------------------------------------------------------------------


def captions_of(cues: Iterable[Cue], about_s: float = ABOUT_S) -> list[Cue]:
    """Spans with one line of text each, of about `about_s`; see the module."""
    out: list[Cue] = []
    for cue in rolled(cues):
        if out and not _begins_anew(out[-1], cue, about_s):
            said = f"{out[-1].lines[0]} {cue.lines[0]}"
            out[-1] = replace(out[-1], end_s=max(out[-1].end_s, cue.end_s), lines=(said,))
        else:
            out.append(cue)
    return [cue for cue in out if len(cue.lines[0].split()) >= LEAST_WORDS]


def _begins_anew(before: Cue, cue: Cue, about_s: float) -> bool:
    said = before.lines[0]
    if cue.start_s - before.end_s > GAP_S or max(before.end_s, cue.end_s) - before.start_s > about_s:
        return True
    if len(said.split()) + len(cue.lines[0].split()) > MOST_WORDS:
        return True
    return before.end_s - before.start_s >= about_s / 2 and _SENTENCE.search(said) is not None


def rolled(cues: Iterable[Cue]) -> Iterator[Cue]:
    """Cues with one line of plain text each, without the words that were on the screen already, and without those of none.

    Words are taken for the same where all of the cue before, or its last three or more, begin this one, and there is no
    silence between them.
    """
    before: list[str] = []
    until_s = -1.0
    for cue in cues:
        words = plain(cue.lines).split()[:MOST_WORDS]
        said = words[_again(before, words) :] if cue.start_s <= until_s + PAUSE_S else words
        if words:
            before, until_s = words, cue.end_s
        if said:
            yield replace(cue, lines=(" ".join(said),))


def _again(before: Sequence[str], words: Sequence[str]) -> int:
    """How many of the first words stood last before."""
    for count in range(min(len(before), len(words)), 0, -1):
        if before[-count:] == words[:count] and (count == len(before) or count >= LEAST_WORDS):
            return count
    return 0


def plain(lines: Iterable[str]) -> str:
    """What is said, on one line: without tags, entities, positions, sounds, songs and names of speakers.

    ("<i>JOHN: It&#39;s here.</i>", "[door]", "- Where?")  ->  It's here. Where?
    """
    said = []
    for line in lines:
        text = html.unescape(_TAG.sub("", line[:4000]))
        if not _NOTES.search(text):
            said.append(_SPEAKER.sub("", text))
    return " ".join(_SOUND.sub(" ", " ".join(said)).split())
