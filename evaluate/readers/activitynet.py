"""ActivityNet Captions (Krishna 2017): 20 000 videos of two minutes, each told in sentences with spans.

    {"v_QOlSCBRmfWY": {"duration": 82.73, "timestamps": [[0.83, 19.86], ...], "sentences": ["A young woman ...", ...]}}

Source: `train.json`, `val_1.json`, `val_2.json`; the last two are two annotators of the same 4917 videos. Grounding
reports on either or both; paragraph-to-video retrieval joins all sentences of a video and reports on val_1 (as CLIP4Clip).

Traps. Names begin with `v_`; downloaded files often do not (strip it, or rename). Some spans end beyond the video or before
they start (`spans.py`). Sentences carry spaces at their ends. Spans of one video overlap and do not cover it. The names
are uploads, which Kinetics and others share.
"""

from pathlib import Path

from ..records import Dataset, Query
from .files import Notes, bad, entry_of, list_of, name_of, read_json
from .gather import finished, told
from .spans import duration_of, pair_of, span_of

Told = tuple[str, str, float, list[tuple[str, object, object, str]]]  # where, video, seconds, (where, start, end, text)


def activitynet(path: Path) -> Dataset:
    """Queries with one span each; ids `v_QOlSCBRmfWY#0`... by the sentence's place in its video.

    Raises:
        UsageError: the file is of another shape.
    """
    notes, queries, entries = Notes(), list[Query](), 0
    for _, video, duration_s, sentences in _videos(path):
        for number, (where, start, end, text) in enumerate(sentences):
            entries += 1
            span = span_of(path, where, start, end, duration_s, notes)
            if span is None:
                continue
            query_id = f"{video}#{number}"
            queries += told(query_id, text, video, where, notes, spans=(span,), duration_s=duration_s)
    return finished("activitynet", path, queries, entries, notes)


def activitynet_paragraphs(path: Path) -> Dataset:
    """One query per video, without spans: all its sentences in the file's order, joined; its id is the video.

    Raises:
        UsageError: the file is of another shape.
    """
    notes, queries, videos = Notes(), list[Query](), _videos(path)
    for where, video, duration_s, sentences in videos:
        text = " ".join(text.strip() for *_, text in sentences if text.strip())
        queries += told(video, text, video, where, notes, duration_s=duration_s)
    return finished("activitynet", path, queries, len(videos), notes)


def _videos(path: Path) -> list[Told]:
    out: list[Told] = []
    for key, value in entry_of(path, "", read_json(path)).items():
        entry = entry_of(path, key, value)
        duration_s = duration_of(path, f"{key}.duration", entry.get("duration"))
        out.append((key, name_of(path, key, key), duration_s, spoken(path, key, entry)))
    return out


def spoken(path: Path, key: str, entry: dict[str, object]) -> list[tuple[str, object, object, str]]:
    """(where, start, end, sentence) of the parallel lists `timestamps` and `sentences`."""
    spans, sentences = list_of(path, key, entry, "timestamps"), list_of(path, key, entry, "sentences")
    if len(spans) != len(sentences):
        bad(path, key, f"{len(spans)} timestamps and {len(sentences)} sentences", "as many of the one as of the other")
    out = []
    for number, (span, text) in enumerate(zip(spans, sentences, strict=True)):
        where = f"{key}[{number}]"
        if not isinstance(text, str):
            bad(path, where, text, "a sentence")
        out.append((where, *pair_of(path, where, span), text))
    return out
