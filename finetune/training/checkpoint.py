"""Checkpoints of a training run: whole or absent, and read without running code in them.

    save_checkpoint(path, state)     tensors, numbers, texts, lists and dicts, as torch writes them
    load_checkpoint(path)            the same again, tensors on the CPU

It does not know what is in them. Costs the bytes once more on disk while the old one is replaced, and an fsync.
"""

from pathlib import Path
from typing import Any

import torch

from ...extract.errors import Damaged
from ...extract.files import write_atomic


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to a temporary name, fsync, rename: killed at any instant, the one before stays.

    Raises:
        OSError: the disk is full or broken; the one before stays.
    """
    write_atomic(path, lambda temporary: torch.save(state, temporary))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What was saved.

    Raises:
        Damaged: it cannot be read, or is not what `save_checkpoint` writes.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError(f"a {type(state).__name__}, not a dict")
    except Exception as error:  # a broken or hostile file makes torch raise anything
        raise Damaged(
            f"checkpoint {path} cannot be read ({type(error).__name__}: {str(error)[:120]}). Delete it to begin anew."
        ) from error
    return state
