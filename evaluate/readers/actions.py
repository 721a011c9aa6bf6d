"""Lists of videos and their classes: Kinetics, UCF101, Something-Something v2, and plain `PATH NUMBER` lists.

    label,youtube_id,time_start,time_end,split              kinetics: train.csv, validate.csv
    testifying,---QUuC4vJs,84,94,validate
    ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1           ucf: trainlist01.txt; testlist01.txt has no numbers
    [{"id": "78687", "template": "Holding [something] next to [something]", ...}]     ssv2: ...-validation.json
    some/path/000.mp4 1                                     list: as mmaction2, SlowFast and VideoMAE have them

A file is a split (Kinetics' says so in a column). Classes have numbers only where a second file says so: `classInd.txt` of
UCF101 (from 1), `...-labels.json` of Something-Something, one name per line for the others (from 0).
"""

import re
from collections.abc import Sequence
from pathlib import Path

from ..records import Dataset, Labelled
from .files import Notes, bad, entry_of, name_of, number_of, read_json, read_lines, read_rows, text_of
from .gather import labelled

_NUMBERED = re.compile(r"(?P<video>.*\S)[\s,]+(?P<label>[0-9]{1,9})\s*")


def kinetics(path: Path, *, classes: Path | None = None) -> Dataset:
    """Kinetics 400, 600 and 700: the official csv. A video's name is `YOUTUBEID_000084_000094`, as the download scripts
    name the clips; its source is the YouTube id.

    Traps: the test csv has no labels (the error says so). Many uploads are gone, so everyone's set is another; the ids are
    shared with other benchmarks. Names of classes hold spaces, folders sometimes underscores.

    Raises:
        UsageError: the file is of another shape.
    """
    found = []
    for where, row in read_rows(path, ["label", "youtube_id", "time_start", "time_end"]):
        times = [number_of(path, where, row[column], column) for column in ("time_start", "time_end")]
        if not 0 <= times[0] < times[1]:
            bad(path, where, f"{times[0]:g} to {times[1]:g}", "0 <= time_start < time_end, in seconds")
        if not row["label"].strip() or not row["youtube_id"].strip():
            bad(path, where, f"label {row['label']!r} of {row['youtube_id']!r}", "a class and a YouTube id")
        source = row["youtube_id"].strip()
        video = f"{source}_{int(times[0]):06d}_{int(times[1]):06d}"
        found.append((where, Labelled(video, row["label"].strip(), row.get("split", "").strip() or None, source)))
    return labelled("kinetics", path, found, Notes(), _names(classes))


def ucf(path: Path, *, classes: Path | None = None) -> Dataset:
    """UCF101: `CLASS/FILE` with or without a number; the class is the folder.

    Traps: numbers count from 1. One folder is `HandstandPushups`, its files `v_HandStandPushups_...`. The 25 groups of a
    class (`_g08`) are cut from one recording each, which is why lists of the three splits must not be mixed.

    Args:
        classes: `classInd.txt`; numbers of the list are then checked against it.

    Raises:
        UsageError: a line without a folder, or whose number is another class.
    """
    names = () if classes is None else _class_ind(classes)
    found = []
    for number, line in read_lines(path):
        where, words = f"line {number}", line.split()
        folder, _, file = words[0].replace("\\", "/").rpartition("/")
        label = folder.rpartition("/")[2]
        if len(words) > 2 or not label or not file:
            bad(path, where, line, "`CLASS/FILE` or `CLASS/FILE NUMBER`")
        if len(words) == 2 and names:
            place = int(words[1]) if re.fullmatch("[0-9]{1,9}", words[1]) else 0
            if not (0 < place <= len(names) and names[place - 1] == label):
                bad(path, where, line, f"the number that {classes} gives the class {label}")
        found.append((where, Labelled(name_of(path, where, file), label)))
    return labelled("ucf", path, found, Notes(), names)


def ssv2(path: Path, *, classes: Path | None = None) -> Dataset:
    """Something-Something v2: the json of the train or validation split. A class is a template without its brackets.

    Traps: `label` is the template filled in, not the class. The test json has ids only, and is refused.

    Args:
        classes: `something-something-v2-labels.json`, {class: "number"}.

    Raises:
        UsageError: the file is of another shape.
    """
    content = read_json(path)
    if not isinstance(content, list):
        bad(path, "", content, "a JSON list of videos")
    found = []
    for number, value in enumerate(content):
        where = f"entry {number}"
        entry = entry_of(path, where, value)
        label = re.sub(r"[\[\]]", "", text_of(path, where, entry, "template"))
        video = name_of(path, where, text_of(path, where, entry, "id"))
        if not label:
            bad(path, where, entry["template"], "a template such as 'Holding [something]'")
        found.append((where, Labelled(video, label)))
    return labelled("ssv2", path, found, Notes(), () if classes is None else _numbered_json(classes))


def listed(path: Path, *, classes: Path | None = None) -> Dataset:
    """One `PATH NUMBER` per line, parted by blanks or a comma, numbers from 0; the path may hold blanks.

    Traps: lists of frame folders (`DIR FRAMES NUMBER`) and of several classes per video look alike, and are refused.

    Raises:
        UsageError: a line of another shape, or a number that the class file does not reach.
    """
    names, found = _names(classes), []
    for number, line in read_lines(path):
        where = f"line {number}"
        match = _NUMBERED.fullmatch(line)
        if match is None or re.search(r"[\s,]\d+$", match["video"]):
            bad(path, where, line, "`PATH NUMBER`, one class per video", "Lists of frame folders are not read.")
        place = int(match["label"])
        if names and place >= len(names):
            bad(path, where, f"class {place}", f"0 to {len(names) - 1}, the lines of {classes}")
        label = names[place] if names else str(place)
        found.append((where, Labelled(name_of(path, where, match["video"]), label)))
    return labelled("list", path, found, Notes(), names)


# --- what the numbers mean ------------------------------------------------------------------------------------


def _names(path: Path | None) -> tuple[str, ...]:
    """One class per line."""
    lines = [] if path is None else read_lines(path)
    return _unique(path, [line.strip() for _, line in lines])


def _class_ind(path: Path) -> tuple[str, ...]:
    """`NUMBER CLASS` lines, from 1 in order."""
    names = []
    for place, (number, line) in enumerate(read_lines(path), 1):
        words = line.split()
        if len(words) != 2 or words[0] != str(place):
            bad(path, f"line {number}", line, f"`{place} CLASS`: numbers from 1 in order, as in classInd.txt")
        names.append(words[1])
    return _unique(path, names)


def _numbered_json(path: Path) -> tuple[str, ...]:
    """{class: number} with numbers from 0, given as numbers or their text."""
    content = entry_of(path, "", read_json(path))
    placed = {number_of(path, name, value, "the class's number"): name for name, value in content.items()}
    if set(placed) != set(range(len(content))):
        bad(path, "", f"numbers {sorted(placed)[:5]}...", f"0 to {len(content) - 1}, each once")
    return _unique(path, [placed[place] for place in range(len(content))])


def _unique(path: Path | None, names: Sequence[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    for name in names:
        if path is not None and name in seen:
            bad(path, "", f"the class {name} twice", "each class once")
        seen.add(name)
    return tuple(names)
