"""`nightreel evaluate splits` and `make-splits`: lists of videos, checked for leaks, or made without any.

    check_lists({"train": Path("train.txt"), "test": Path("test.csv")}, store)      raises Leak, or says what was checked
    make_lists(store, {"train": 0.9, "test": 0.1}, Path("splits"))                  splits/train.txt, splits/test.txt

With an archive a name means the video that `videos.match_videos` finds (with and without `v_`), and footage is compared.
Without one, only names and the sources that they tell are compared: `clips/a.mp4` is `a`, but not `films/a.mp4`.

Costs 0.12 s for 10 000 names; with an archive what `find_duplicates` costs.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...extract.errors import Refused, UsageError
from ...extract.files import write_atomic
from ...extract.store import Store
from ...extract.videos import VideoRow
from ...index.choose import choose_motion_encoder
from ...index.duplicates import THRESHOLD, find_duplicates
from ...search.archive import slug_of
from ..readers.files import read_names
from ..records import bare_name
from ..splits import check_leaks, duplicates_between, source_of, split_by_source
from .videos import SHOWN, match_videos


def named(option: str, words: Iterable[str], example: str) -> dict[str, str]:
    """`["train=a.txt", "test=b.txt"]` -> name -> value.

    Raises:
        UsageError: one without `=`, a name twice, or one that is no file's name; fewer than two.
    """
    out: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not value or name in out or not name.replace("-", "").replace("_", "").isalnum():
            raise UsageError(f"{option} {word}: expected NAME=VALUE, each name once, for example {option} {example}.")
        out[name] = value
    if len(out) < 2:
        raise UsageError(f"{option}: got {len(out)}; expected two or more, for example {option} {example}.")
    return out


def shares_of(words: Iterable[str]) -> dict[str, float]:
    """`["train=0.9", "test=0.1"]` -> name -> share.

    Raises:
        UsageError: as `named`, or a share is no number.
    """
    shares = named("--part", words, "train=0.9 --part test=0.1")
    try:
        return {name: float(value) for name, value in shares.items()}
    except ValueError as error:
        raise UsageError(f"--part: {error}; expected a share, for example train=0.9.") from error


# --- checking -------------------------------------------------------------------------------------------------


def check_lists(
    files: Mapping[str, Path],
    store: Store | None = None,
    *,
    encoder: str | None = None,
    threshold: float = THRESHOLD,
    allow_missing: bool = False,
) -> dict[str, Any]:
    """What was checked, where nothing leaks.

    Returns:
        {"splits": {name: {"file", "videos", "sources", "first"}}, "compared": the features that footage was compared by, or
        None, "missing_videos"}.

    Raises:
        Leak: something does.
        Refused: the archive has no features of some videos, and that was not allowed.
        UsageError: a file is no list, or two videos are called like one.
    """
    lists = {split: read_names(path) for split, path in files.items()}
    slug, missing, pairs = None, dict[str, str](), []
    if store is None:
        held = _comparable(lists)
    else:
        slug = choose_motion_encoder(store, slug_of(store, encoder) if encoder else None)
        found = match_videos([name for names in lists.values() for name in names], store, slug)
        missing = found.missing
        if missing and not allow_missing:
            few = "\n  ".join(f"{name}: {why}" for name, why in list(missing.items())[:SHOWN])
            more = f"\n  ... and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            raise Refused(
                f"{len(missing)} videos of the splits are not in {store.root}:\n  {few}{more}\n"
                "Extract them, or compare the footage of the others only with --allow-missing."
            )
        there = {split: [found.rows[n].path for n in names if n in found.rows] for split, names in lists.items()}
        held = {split: there[split] + [n for n in names if n in missing] for split, names in lists.items()}
        pairs = duplicates_between(store, slug, there, threshold)
    check_leaks(held, pairs)
    told = {
        split: {
            "file": str(files[split]),
            "videos": len(set(names)),
            "sources": len(set(map(source_of, names))),
            "first": lists[split][0],
        }
        for split, names in held.items()
    }
    return {"splits": told, "compared": slug, "missing_videos": len(missing)}


def _comparable(lists: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Names without folder and suffix where some list has the video so."""
    plain = {bare_name(name) for names in lists.values() for name in names if not re.search(r"[/\\]", name)}
    return {
        split: [bare_name(name) if bare_name(name) in plain else name for name in names]
        for split, names in lists.items()
    }


# --- making ---------------------------------------------------------------------------------------------------


def make_lists(
    store: Store,
    shares: Mapping[str, float],
    folder: Path,
    *,
    seed: int = 0,
    encoder: str | None = None,
    threshold: float = THRESHOLD,
) -> dict[str, Any]:
    """Write `FOLDER/NAME.txt` for each share: the archive's videos, by source, copies of footage together.

    A video stands there by its file's name without folder and suffix, by its path where that names several, by its id where
    neither fits a line. The same archive and seed give the same lists.

    Returns:
        {"splits": {name: {"file", "videos", "sources", "share"}}, "compared", "copies": pairs, "left_out": videos without
        features, which cannot be compared}.

    Raises:
        UsageError: the shares are none, a part stays empty, or another list is there already; nothing is written then.
    """
    slug = choose_motion_encoder(store, slug_of(store, encoder) if encoder else None)
    extracted, rows = set(store.video_ids(slug)), store.videos()
    count = Counter(bare_name(row.path) for row in rows)
    videos = [row for row in rows if row.video_id in extracted]
    names = sorted(_line(row, count) for row in videos)
    copies = find_duplicates(store, slug, threshold)
    parts = split_by_source(names, shares, seed, together=copies)
    empty = [part for part, of in parts.items() if not of]
    if empty:
        raise UsageError(
            f"{' and '.join(empty)} got none of {len(names)} videos of {len(set(map(source_of, names)))} sources.\n"
            "A source goes to a part by its hash, so shares are met on many: take more videos, other shares, or --seed."
        )
    for part, of in parts.items():
        _check_free(folder / f"{part}.txt", of)
    for part, of in parts.items():
        _write(folder / f"{part}.txt", of)
    told = {
        part: {
            "file": str(folder / f"{part}.txt"),
            "videos": len(of),
            "sources": len(set(map(source_of, of))),
            "share": round(len(of) / len(names), 4),
        }
        for part, of in parts.items()
    }
    return {"splits": told, "compared": slug, "copies": len(copies), "left_out": len(rows) - len(videos)}


def _line(row: VideoRow, count: Mapping[str, int]) -> str:
    """How a list names a video."""
    bare = bare_name(row.path)
    names = [bare, row.path] if count[bare] == 1 else [row.path]
    return next((name for name in names if name == name.strip() and "\n" not in name), row.video_id)


def _check_free(path: Path, names: Sequence[str]) -> None:
    if path.exists() and path.read_text(encoding="utf-8", errors="replace").splitlines() != list(names):
        raise UsageError(f"{path} is there already, with other videos; name another --out, or remove it.")


def _write(path: Path, names: Sequence[str]) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")

    write_atomic(path, write)
