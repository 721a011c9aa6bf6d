"""What an archive holds, in numbers: `nightreel info`."""

from collections import Counter
from typing import Any

from ..extract.store import Store
from .open import index_headers


def summary(store: Store) -> dict[str, Any]:
    """Videos by status, hours, features by encoder, indexes with how exact and how fresh they are."""
    rows = store.videos()
    encoders = {}
    for slug, fingerprint in store.encoders().items():
        files = store.state.files(slug)
        encoders[slug] = {
            "spec": fingerprint.get("spec"),
            "licence": fingerprint.get("licence"),
            "dim": fingerprint.get("dim"),
            "sampling": fingerprint.get("sampling"),
            "videos": len(store.video_ids(slug)),
            "segments": store.segment_count(slug),
            "bytes": sum(file.bytes for file in files),
        }
    indexes = {}
    for name, header in index_headers(store).items():
        shown = ("kind", "encoder", "vectors", "bytes", "recall_at_10", "latency_ms_p50", "created")
        indexes[name] = {
            **{key: header.get(key) for key in shown},
            "stale": header["commit"] != store.state.last_commit,
        }
    return {
        "archive": str(store.root),
        "videos": len(rows),
        "status": dict(Counter(row.status for row in rows)),
        "video_s": round(sum(row.duration_s or 0.0 for row in rows), 3),
        "commits": len(store.commit_ids),
        "encoders": encoders,
        "indexes": indexes,
    }


def failures(store: Store) -> list[dict[str, Any]]:
    """The videos that are not `done`: path, status, stage, error_kind, error, attempts, frames_decoded."""
    keys = ("video_id", "path", "status", "stage", "error_kind", "error", "attempts", "frames_decoded")
    return [{key: getattr(row, key) for key in keys} for row in store.videos() if row.status != "done"]
