"""`nightreel demo`: extract, index, search, ground; on films with a known truth, or on the user's own folder.

Prints what it does and, beside each answer on its own films, the truth. Uses only what any user can call.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..extract.record import Progress
from ..extract.run import Settings, extract
from ..search.archive import Archive
from ..search.moment import Moment, iou
from ..search.search import Hit
from .films import FILMS, SENTENCES, Film, make_films

ENCODER = "conse"
SEARCHED = ("cat", "coffee", "rocket", "motorcycle", "astronaut")  # each stands in one film only
GROUNDED = {
    "saturday.mp4": "flower",
    "kitchen.mp4": "coffee",
    "launch_day.mp4": "rocket",
    "workshop.mp4": "motorcycle",
    "museum.mp4": "temple",
}
OWN_QUERIES = ("a person", "an animal", "a car on a road", "trees and plants", "a table")

Say = Callable[[str], None]
OnProgress = Callable[[Progress], None]


def run_demo(folder: Path | None, say: Say = print, on_progress: OnProgress = lambda progress: None) -> dict[str, Any]:
    """The tour on `folder`'s videos, or on the demo's own films where it is None.

    Returns:
        On the demo's films: searches_right, searches, mean_iou, wall_s. On a folder: videos, wall_s.
    """
    began = time.perf_counter()
    if folder is not None:
        result = _tour_of_folder(folder, say, on_progress)
    else:
        with tempfile.TemporaryDirectory(prefix="nightreel-demo-") as scratch:
            result = _tour_of_films(Path(scratch), say, on_progress)
    result["wall_s"] = round(time.perf_counter() - began, 1)
    say(f"\nThe demo took {result['wall_s']} s.")
    return result


def _prepare(videos: str, archive: Path, say: Say, on_progress: OnProgress) -> Archive:
    report = extract([videos], archive, [ENCODER], Settings(), on_progress)
    stages = ", ".join(f"{name.removesuffix('_s')} {seconds:.1f} s" for name, seconds in report.stages.items())
    say(
        f"extract: {report.done + report.partial} of {report.videos} videos, {report.video_s:.0f} s of video, "
        f"{sum(report.segments.values())} segments in {report.wall_s:.1f} s ({stages})"
    )
    for failure in report.failures:
        say(f"  not fully read: {failure['path']}: {failure['error']}")
    opened = Archive(archive)
    built = opened.build_index()
    say(f"index:   {built['vectors']} vectors, {built['kind']}, {built['latency_ms_p50']} ms a query")
    return opened


def _tour_of_films(scratch: Path, say: Say, on_progress: OnProgress) -> dict[str, Any]:
    say("Making five small films out of eight photographs ...")
    make_films(scratch / "films")
    archive = _prepare(str(scratch / "films"), scratch / "films.reel", say, on_progress)
    truth = {film.name: film.truth() for film in FILMS}
    say("\nSearch: which film, and where in it?")
    right = sum(_search_once(archive, photo, truth, say) for photo in SEARCHED)
    say("\nGround: where in this film?")
    overlaps = [_ground_once(archive, film, GROUNDED[film.name], say) for film in FILMS]
    mean_iou = sum(overlaps) / len(overlaps)
    say(f"\n{right} of {len(SEARCHED)} searches right at rank 1; mean IoU of grounded moments {mean_iou:.2f}.")
    return {"searches_right": right, "searches": len(SEARCHED), "mean_iou": round(mean_iou, 4)}


def _search_once(archive: Archive, photo: str, truth: dict[str, list[tuple[str, float, float]]], say: Say) -> bool:
    """Whether the first hit lies in the right film and overlaps the right scene by half (IoU >= 0.5)."""
    hit = archive.search(SENTENCES[photo], top=1)[0]
    name = Path(hit.path).name
    scenes = [(film, start, end) for film, found in truth.items() for shown, start, end in found if shown == photo]
    right = any(name == film and _iou(hit, start, end) >= 0.5 for film, start, end in scenes)
    film, start, end = scenes[0]
    answer, expected = f"{name} {hit.start_s:.1f}-{hit.end_s:.1f} s", f"{film} {start:.1f}-{end:.1f} s"
    say(f"  {'right' if right else 'WRONG'}  {SENTENCES[photo]!r:40} {answer:28} truth {expected}")
    return right


def _ground_once(archive: Archive, film: Film, photo: str, say: Say) -> float:
    """IoU of the first moment with the scene that shows the photograph."""
    best = archive.ground(film.name, SENTENCES[photo], top=1).moments[0]
    start, end = next((start, end) for shown, start, end in film.truth() if shown == photo)
    overlap = _iou(best, start, end)
    answer = f"{best.start_s:.1f}-{best.end_s:.1f} s"
    say(f"  IoU {overlap:.2f}  {film.name:16} {SENTENCES[photo]!r:40} {answer:14} truth {start:.1f}-{end:.1f} s")
    return overlap


def _iou(hit: Hit, start_s: float, end_s: float) -> float:
    return iou(Moment(hit.start_s, hit.end_s, 0.0), Moment(start_s, end_s, 0.0))


def _tour_of_folder(folder: Path, say: Say, on_progress: OnProgress) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="nightreel-demo-") as scratch:
        archive = _prepare(str(folder), Path(scratch) / "own.reel", say, on_progress)
        say("\nFive sentences to try; ask your own with `nightreel search` after `nightreel extract`.")
        for text in OWN_QUERIES:
            say(f"  {text}")
            for hit in archive.search(text, top=3, by="video"):
                say(f"    {hit.score:6.3f}  {hit.start_s:7.1f}-{hit.end_s:7.1f} s  {hit.path}")
        return {"videos": len(archive.store.videos())}
