"""What an archive holds, in numbers: `nightreel info`."""

from collections import Counter
from typing import Any

from ..extract.errors import Damaged
from ..extract.heads.apply import not_mapped
from ..extract.heads.stored import head_of, heads_in_use
from ..extract.store import Store
from .manifest import UNREADABLE, Header, folder_of, how_to_build
from .open import index_headers
from .part import read_table
from .reading import versions

SHOWN = ("kind", "encoder", "vectors", "bytes", "memory", "recall_asked", "recall_at_10", "latency_ms_p50", "created")


def summary(store: Store) -> dict[str, Any]:
    """Videos by status, hours, features by encoder, indexes with how exact and how fresh they are."""
    rows = store.videos()
    encoders = {}
    for slug, fingerprint in store.encoders().items():
        files = store.state.files(slug)
        if not files and head_of(fingerprint):
            continue  # removed; the fingerprint stays until `compact`
        encoders[slug] = {
            "spec": fingerprint.get("spec"),
            "licence": fingerprint.get("licence"),
            "dim": fingerprint.get("dim"),
            "sampling": fingerprint.get("sampling"),
            "videos": len(store.video_ids(slug)),
            "segments": store.segment_count(slug),
            "bytes": sum(file.bytes for file in files),
            "head": head_of(fingerprint),
        }
    indexes = {}
    for name, header in index_headers(store).items():
        indexes[name] = {**{key: header.get(key) for key in SHOWN}, **_coverage(store, header)}
    return {
        "archive": str(store.root),
        "videos": len(rows),
        "status": dict(Counter(row.status for row in rows)),
        "video_s": round(sum(row.duration_s or 0.0 for row in rows), 3),
        "commits": len(store.commit_ids),
        "encoders": encoders,
        "heads_in_use": heads_in_use(store),
        "indexes": indexes,
    }


def _coverage(store: Store, header: Header) -> dict[str, Any]:
    """What of an index still counts: its parts, the videos that it has not, segments of others that it hides."""
    now = versions(store, header["encoder"])
    folder = folder_of(store, header["name"])
    try:
        tables = [read_table(folder, entry) for entry in header["parts"]]
    except UNREADABLE as error:
        remedy = how_to_build(store, header["name"])
        raise Damaged(f"index {folder} cannot be read ({error}). Build it again: {remedy}") from error
    living = {name for table in tables for name in table.living(now)}
    missing = len((set(now) - living) | not_mapped(store, header["encoder"]))
    levels = {name: sum(part["levels"][name]["vectors"] for part in header["parts"]) for name in header["levels"]}
    return {
        "parts": len(tables),
        "levels": levels,
        "left_out": header.get("left_out"),
        "probes": header["probes"].get("kind"),
        "hidden": sum(table.dead(now) for table in tables),
        "missing_videos": missing,
        "stale": missing > 0,
    }


def failures(store: Store) -> list[dict[str, Any]]:
    """The videos that are not `done`: path, status, stage, error_kind, error, attempts, frames_decoded."""
    keys = ("video_id", "path", "status", "stage", "error_kind", "error", "attempts", "frames_decoded")
    return [{key: getattr(row, key) for key in keys} for row in store.videos() if row.status != "done"]
