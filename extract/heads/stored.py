"""Heads of an archive: `heads/<name>/head.json` says what one is, `head.safetensors` is its network, `run/` how it came about.

    Made        what a head is, what it was trained on, what it stands on (lineage)
    save_head, load_stored      write one, read one
    use, heads_in_use           which head's features stand in for those of its encoder: `heads/in_use/<encoder>.json`

A head is never overwritten: features may have been made with it. `head.json` is written last, so a head is there whole or not
at all. Nothing here imports torch until a network is read or written.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Damaged, UsageError
from ..files import fsync_dir, sha256_of, write_atomic, write_json
from ..fingerprint import MODEL_KEYS, Fingerprint
from ..store import Store

if TYPE_CHECKING:
    from .tuned import Tuned

FORMAT_VERSION = 1
JSON, WEIGHTS, IN_USE = "head.json", "head.safetensors", "in_use"
PLAIN = "none"  # no head: the encoder's own features
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Made:
    """What `head.json` says.

    Attributes:
        name: of its folder.
        network: what `tuned.make_tuned` takes.    sha256: of `head.safetensors`.
        context: how many frames it sees together, as it was trained; longer videos go through it in windows.
        base: the slug of the encoder whose frame features it takes.    base_print: its spec and `MODEL_KEYS`.
        clips: the slug of the encoder whose clip features join them, or None.    clips_print: likewise.
        trained: how, on what and to what end, for people to read.    created: ISO 8601, UTC.
    """

    name: str
    network: dict[str, Any]
    sha256: str
    context: int
    base: str
    base_print: dict[str, Any]
    clips: str | None = None
    clips_print: dict[str, Any] = field(default_factory=dict)
    trained: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    version: int = FORMAT_VERSION


def folder_of(store: Store, name: str) -> Path:
    """Where a head lies.

    Raises:
        UsageError: not a name.
    """
    if not _NAME.fullmatch(name) or name in (PLAIN, IN_USE):
        raise UsageError(
            f"head {name!r}: expected a name of letters, digits, '_', '.' and '-' that begins with a letter or digit and is "
            f"not {PLAIN!r} or {IN_USE!r}, for example --name players."
        )
    return store.root / "heads" / name


def print_of(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """What of an encoder's fingerprint decides whether a head fits its features."""
    return {key: fingerprint.get(key) for key in ("spec", *MODEL_KEYS)}


def names(store: Store) -> list[str]:
    """The heads of an archive, sorted."""
    return sorted(path.parent.name for path in (store.root / "heads").glob(f"*/{JSON}"))


def require_new(store: Store, name: str) -> Path:
    """The folder of a head that is not there yet.

    Raises:
        UsageError: it is.
    """
    folder = folder_of(store, name)
    if (folder / JSON).exists():
        raise UsageError(
            f"archive {store.root} has a head {name!r} already; features may have been made with it, so it stays as it is. "
            f"Choose another --name; it has: {', '.join(names(store))}."
        )
    if (store.root / "features" / f"head-{name}").exists():
        raise UsageError(
            f"archive {store.root} has features that a head {name!r} made; another of this name could not add to them. "
            "Choose another --name; that of a head that was removed is free again after: "
            f"nightreel compact {store.root} --now"
        )
    return folder


def save_head(
    store: Store,
    name: str,
    tuned: "Tuned",
    *,
    base: str,
    context: int,
    clips: str | None = None,
    trained: Mapping[str, Any] | None = None,
) -> Made:
    """Write a head.

    Args:
        base, clips: slugs of the encoders whose features it takes.    context, trained: as of `Made`.

    Raises:
        UsageError: the archive has one of this name.    OSError: the disk is full or broken; there is no head then.
    """
    from safetensors.torch import save_file

    from ..store import utc_now

    folder, prints = require_new(store, name), store.encoders()
    state = {key: value.detach().cpu().contiguous() for key, value in tuned.state_dict().items()}
    write_atomic(folder / WEIGHTS, lambda temporary: save_file(state, temporary))
    made = Made(
        name,
        tuned.facts(),
        sha256_of(folder / WEIGHTS),
        context,
        base,
        print_of(prints[base]),
        clips,
        print_of(prints[clips]) if clips else {},
        dict(trained or {}),
        utc_now(),
    )
    write_json(folder / JSON, asdict(made), exclusive=True)
    return made


def read_made(store: Store, name: str) -> Made:
    """What a head is.

    Raises:
        UsageError: there is none of this name.    Damaged: its `head.json` is not as it was written.
    """
    path = folder_of(store, name) / JSON
    if not path.is_file():
        has = ", ".join(names(store)) or "none yet; train one with `nightreel finetune`"
        raise UsageError(f"archive {store.root} has no head {name!r}; it has: {has}.")
    try:
        made = Made(**json.loads(path.read_text(encoding="utf-8")))
        if made.version != FORMAT_VERSION or made.name != name or not 0 < made.context <= 1 << 16:
            raise ValueError(f"version {made.version}, name {made.name!r}, context {made.context!r}")
        return made
    except (OSError, ValueError, TypeError) as error:
        raise Damaged(f"{path} cannot be read ({error}). Restore it from a backup, or train the head anew.") from error


def load_stored(store: Store, name: str) -> "tuple[Tuned, Made]":
    """A head's network, in evaluation mode, and what it is.

    Raises:
        UsageError: there is none.    Damaged: its files are not those that were written.
    """
    from safetensors.torch import load_file

    from .tuned import make_tuned

    made = read_made(store, name)
    path = folder_of(store, name) / WEIGHTS
    try:
        if sha256_of(path) != made.sha256:
            raise ValueError("it is not the file that was written")
        tuned = make_tuned(made.network)
        tuned.load_state_dict(load_file(path))
    except Exception as error:  # a broken or hostile file makes torch raise anything
        raise Damaged(f"{path} cannot be read ({error}). Restore it from a backup, or train the head anew.") from error
    return tuned.eval().requires_grad_(False), made


def heads_in_use(store: Store) -> dict[str, str]:
    """Slug of an encoder -> name of the head whose features stand in for it.

    Raises:
        Damaged: one of the files that say so is not as it was written.
    """
    found = {}
    for path in sorted((store.root / "heads" / IN_USE).glob("[!.]*.json")):
        try:
            name = json.loads(path.read_text(encoding="utf-8"))["head"]
            if not isinstance(name, str):
                raise ValueError(f"its head is {name!r}")
            found[path.stem] = name
        except FileNotFoundError:
            continue  # another process has put its encoder's own features in force just now
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise Damaged(
                f"{path} cannot be read ({error}). Delete it; `nightreel index --head` writes it anew."
            ) from error
    return found


def use(store: Store, base: str, name: str | None) -> None:
    """Let the features of a head stand in for its encoder's; None: the encoder's own count again.

    A file for each encoder, so that processes that do this for several at once lose nothing of each other.
    """
    path = store.root / "heads" / IN_USE / f"{base}.json"
    if name is not None:
        write_json(path, {"head": name})
        return
    path.unlink(missing_ok=True)
    fsync_dir(path.parent)


def head_of(fingerprint: Fingerprint) -> dict[str, Any] | None:
    """The lineage in the fingerprint of features that a head made: its name, sha256, base and clips; None for an encoder's."""
    found = fingerprint.get("head")
    return found if isinstance(found, dict) else None
