"""QVHighlights (Lei 2021): 10 000 queries on clips of 150 s from vlogs and news, several moments each.

    {"qid": 8737, "query": "A family is playing basketball ...", "duration": 126, "vid": "bP5KfdFJzC4_660.0_810.0",
     "relevant_windows": [[0, 16]], "relevant_clip_ids": [0, ...], "saliency_scores": [[4, 1, 1], ...]}

Source: `highlight_train_release.jsonl`, `highlight_val_release.jsonl` of moment_detr. One object per line. Saliency is not
kept here: the benchmark's own metrics (`evaluate/highlights.py`) take the objects as they are, see `files.read_jsonl`.

Traps. `vid` is `YOUTUBEID_start_end`: its dots are no suffix, and several clips come from one upload. The test file has no
windows: its queries have no spans and cannot be scored.
"""

from pathlib import Path

from ..records import Dataset, Query
from .files import Notes, id_of, list_of, name_of, read_jsonl, text_of
from .gather import finished, told
from .spans import duration_of, pair_of, span_of

NO_WINDOWS = "queries without spans: no relevant_windows, as in the test split"
NO_SPAN = "queries left out: none of their spans is one"


def qvhighlights(path: Path) -> Dataset:
    """Queries with all their windows as spans, in the file's order; ids are the qids.

    Raises:
        UsageError: the file is of another shape.
    """
    notes, queries, entries = Notes(), list[Query](), 0
    for where, entry in read_jsonl(path):
        entries += 1
        query_id = id_of(path, where, entry, "qid")
        video = name_of(path, where, text_of(path, where, entry, "vid"))
        duration_s = duration_of(path, where, entry.get("duration"))
        text = text_of(path, where, entry, "query")
        if "relevant_windows" not in entry:
            notes.add(NO_WINDOWS, where)
            queries += told(query_id, text, video, where, notes, duration_s=duration_s)
            continue
        windows = [pair_of(path, where, window) for window in list_of(path, where, entry, "relevant_windows")]
        found = [span_of(path, where, start, end, duration_s, notes) for start, end in windows]
        spans = tuple(span for span in found if span is not None)
        if not spans:
            notes.add(NO_SPAN, where)
            continue
        queries += told(query_id, text, video, where, notes, spans=spans, duration_s=duration_s)
    return finished("qvhighlights", path, queries, entries, notes)
