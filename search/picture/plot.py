"""What `ground` found as a picture: each sentence's curve, its moments, and the video's own frames along the time axis.

The drawing is `drawing.py`, the frames are `thumbnails.py`; here it is decided what goes in. Without its file, a video
gets a picture without frames.
"""

from pathlib import Path

from ...extract.errors import VideoError
from ..grounding import Grounding, ScoreCurve
from ..search import Hit
from .drawing import draw, picture_format, picture_times
from .lettering import printable
from .lines import Line, Span
from .measures import HEIGHT_PX
from .thumbnails import thumbnails


def plot(found: Grounding, target: str | Path) -> str | None:
    """Write a picture of what was found; gives what the person who asked should be told if the video has no frames to show.

    Raises:
        UsageError: `target` has an ending that cannot be drawn, or cannot be written.
    """
    target, video = Path(target), Path(found.path)
    picture_format(target)
    lines = [_line(curve, _moments_of(found, place)) for place, curve in enumerate(found.curves)]
    duration_s = float(max(line.end_s.max() for line in lines))
    missing = None
    try:
        frames = thumbnails(video, picture_times(lines, duration_s), HEIGHT_PX)
    except VideoError as error:
        frames, missing = [], f"The picture has no frames of {video}: {error}"
    title = f"{printable(', then '.join(line.label for line in lines))}\n{printable(video.name)}"
    draw(target, title, lines, frames, duration_s, "\n".join(found.notes))
    return missing


def _moments_of(found: Grounding, place: int) -> list[Hit]:
    """A sentence's moments, best first: of sequences, those in its place, each once."""
    if not found.sequences:
        return found.moments
    return list(dict.fromkeys(sequence.moments[place] for sequence in found.sequences))


def _line(curve: ScoreCurve, moments: list[Hit]) -> Line:
    spans = [Span(hit.start_s, hit.end_s, hit.confidence) for hit in moments]
    return Line(curve.text, curve.start_s, curve.end_s, curve.scores, spans)
