"""The fingerprint of an encoder in an archive: everything that decides its embeddings.

Rows of different fingerprints never mix. What is compared is only what changes numbers or times beyond rounding:
library versions are recorded but not compared, or every upgrade would orphan an archive.
"""

import json
from pathlib import Path
from typing import Any

from .errors import Damaged, FingerprintMismatch

Fingerprint = dict[str, Any]

# Two sets of embeddings may be compared by inner product if these agree.
MODEL_KEYS = ("weights_sha256", "dim", "size_px", "preprocessing", "pooling")
# Two sets of rows may stand in one table if, besides, these agree.
ROW_KEYS = (*MODEL_KEYS, "sampling", "labels")

FILE_NAME = "encoder.json"


def differences(
    stored: Fingerprint, current: Fingerprint, keys: tuple[str, ...], *, other: str = "this run"
) -> list[str]:
    """One line per key that differs: `key: archive has X, this run has Y`; `other` says what `current` is."""
    return [
        f"{key}: archive has {_short(stored.get(key))}, {other} has {_short(current.get(key))}"
        for key in keys
        if _plain(stored.get(key)) != _plain(current.get(key))
    ]


def require_same(
    stored: Fingerprint, current: Fingerprint, keys: tuple[str, ...], *, remedy: str, other: str = "this run"
) -> None:
    """Refuse if two fingerprints differ in `keys`, printing both sides.

    Raises:
        FingerprintMismatch: with every differing key and the remedy.
    """
    lines = differences(stored, current, keys, other=other)
    if lines:
        spec = current.get("spec", stored.get("spec", "?"))
        raise FingerprintMismatch(
            f"encoder {spec} is not the one that made the features in this archive:\n  "
            + "\n  ".join(lines)
            + f"\n{remedy}"
        )


def read_fingerprint(folder: Path) -> Fingerprint:
    """The `encoder.json` of a features folder.

    Raises:
        Damaged: it is missing, not JSON, or without the `spec` and `dim` that everything relies on.
    """
    path = folder / FILE_NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"expected an object, got {type(value).__name__}")
        if not isinstance(value.get("spec"), str) or not isinstance(value.get("dim"), int) or value["dim"] < 1:
            raise ValueError(f"expected a spec and a dim, got {value.get('spec')!r} and {value.get('dim')!r}")
        return value
    except (OSError, ValueError) as error:
        raise Damaged(
            f"{folder.name}/{FILE_NAME} cannot be read ({error}). It says which encoder made these features and "
            "nothing can be searched without it. Restore it from a backup, or extract again into a new archive."
        ) from error


def _plain(value: Any) -> Any:
    """As JSON gives it back (tuples become lists), so that a fresh and a stored value compare equal."""
    return json.loads(json.dumps(value))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "..."
