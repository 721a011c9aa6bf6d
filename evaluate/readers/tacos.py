"""TACoS (Regneri 2013): 127 cooking videos of five minutes, each told many times over by different people.

    {"s30-d52.avi": {"timestamps": [[141, 354], ...], "sentences": ["She took out kiwi", ...], "fps": 29.4, "num_frames": 7346}}

Source: the json that 2D-TAN publishes (`train.json`, `val.json`, `test.json`) and MMN and others use. The corpus's own
tab-separated index is not read.

Traps. Times are frame numbers: seconds are `frame / fps`, right for these recordings of constant rate and for no others.
Keys end in `.avi`, which is no part of the name here. Spans overlap and repeat with other words. Two files `sXX-dYY` of one
person share a kitchen with all others: splits are by video.
"""

from pathlib import Path

from ..records import Dataset, Query
from .activitynet import spoken
from .files import Notes, bad, entry_of, name_of, number_of, read_json
from .gather import finished, told
from .spans import span_of


def tacos(path: Path) -> Dataset:
    """Queries with one span each; ids `s30-d52#0`... by the sentence's place in its video.

    Raises:
        UsageError: the file is of another shape.
    """
    notes, queries, entries = Notes(), list[Query](), 0
    for key, value in entry_of(path, "", read_json(path)).items():
        entry, video = entry_of(path, key, value), name_of(path, key, key)
        fps = number_of(path, f"{key}.fps", entry.get("fps"), "frames per second")
        frames = number_of(path, f"{key}.num_frames", entry.get("num_frames"), "how many frames the video has")
        if fps <= 0 or frames <= 0:
            bad(path, key, f"fps {fps:g} and num_frames {frames:g}", "both above 0")
        for number, (where, start, end, text) in enumerate(spoken(path, key, entry)):
            entries += 1
            span = span_of(path, where, start, end, frames / fps, notes, per_s=fps)
            if span is None:
                continue
            query_id = f"{video}#{number}"
            queries += told(query_id, text, video, where, notes, spans=(span,), duration_s=frames / fps)
    return finished("tacos", path, queries, entries, notes)
