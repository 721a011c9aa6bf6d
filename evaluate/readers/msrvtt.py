"""MSR-VTT (Xu 2016): 10 000 clips of 20 captions each, and the 1k-A pairs (Yu 2018, JSFusion) that papers report.

    {"videos": [{"video_id": "video0", "url": "https://www.youtube.com/watch?v=9lZi22qLlEo", "split": "train", ...}],
     "sentences": [{"video_id": "video0", "caption": "a car is shown", "sen_id": 0}]}
    key,vid_key,video_id,sentence
    ret0,msr9770,video9770,a person is connecting something to system

Sources: the challenge's json (`train_val_videodatainfo.json`, and CLIP4Clip's `MSRVTT_data.json`, which has all clips);
CLIP4Clip's `MSRVTT_JSFUSION_test.csv`.

Traps. The json's own test split has 2990 clips; "1k-A" is the csv's 1000 pairs, one caption a video, and trains on 9000
clips that include most of those 2990 (`MSRVTT_train.9k.csv`): figures of the two do not compare. Several clips are cut
from one upload; the json says which (`url`), the csv does not, so leaks are only seen with the json.
"""

import re
from pathlib import Path
from typing import Any

from ..records import Dataset, Query
from .files import Notes, bad, entry_of, id_of, list_of, name_of, read_json, read_rows, text_of
from .gather import finished, told

_UPLOAD = re.compile(r"(?:[?&]v=|youtu\.be/)([\w-]{11})")


def msrvtt(path: Path) -> Dataset:
    """The json or, by its suffix, the csv; queries without spans.

    Raises:
        UsageError: the file is neither of the two.
    """
    return _pairs(path) if path.suffix.lower() == ".csv" else _captions(path)


def _pairs(path: Path) -> Dataset:
    notes, queries, entries = Notes(), list[Query](), 0
    for where, row in read_rows(path, ["key", "video_id", "sentence"]):
        entries += 1
        queries += told(
            id_of(path, where, row, "key"), row["sentence"], name_of(path, where, row["video_id"]), where, notes
        )
    return finished("msrvtt", path, queries, entries, notes)


def _captions(path: Path) -> Dataset:
    content = entry_of(path, "", read_json(path))
    split_of: dict[str, tuple[str | None, str | None]] = {}
    for number, value in enumerate(list_of(path, "", content, "videos")):
        where = f"videos[{number}]"
        video = entry_of(path, where, value)
        split_of[name_of(path, where, text_of(path, where, video, "video_id"))] = _facts(video)
    notes, queries = Notes(), list[Query]()
    sentences = list_of(path, "", content, "sentences")
    for number, value in enumerate(sentences):
        where = f"sentences[{number}]"
        sentence = entry_of(path, where, value)
        name = name_of(path, where, text_of(path, where, sentence, "video_id"))
        if name not in split_of:
            bad(path, where, name, "a video_id that stands under 'videos'")
        split, source = split_of[name]
        text = text_of(path, where, sentence, "caption")
        queries += told(id_of(path, where, sentence, "sen_id"), text, name, where, notes, split=split, source=source)
    return finished("msrvtt", path, queries, len(sentences), notes)


def _facts(video: dict[str, Any]) -> tuple[str | None, str | None]:
    """(split, YouTube id of the upload), None where not said."""
    upload = _UPLOAD.search(str(video.get("url", "")))
    split = video.get("split")
    return split if isinstance(split, str) and split else None, upload.group(1) if upload else None
