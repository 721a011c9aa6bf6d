"""Nightreel: index video archives overnight, find moments in them by sentence in the morning.

from nightreel import Archive
hits = Archive("videos.reel").search("a dog catches a frisbee", top=5)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .extract.errors import NightreelError
    from .extract.segment import Segment, Segments
    from .search.archive import Archive
    from .search.ground import find_moments
    from .search.grounding import Grounding
    from .search.moment import Moment
    from .search.search import Hit

__all__ = ["Archive", "Grounding", "Hit", "Moment", "NightreelError", "Segment", "Segments", "find_moments"]

_HOME = {
    "Archive": "search.archive",
    "Grounding": "search.grounding",
    "Hit": "search.search",
    "Moment": "search.moment",
    "NightreelError": "extract.errors",
    "Segment": "extract.segment",
    "Segments": "extract.segment",
    "find_moments": "search.ground",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that `import nightreel` and `nightreel --help` stay fast."""
    if name not in _HOME:
        raise AttributeError(f"module 'nightreel' has no attribute {name!r}; public names: {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(f".{_HOME[name]}", __name__), name)
