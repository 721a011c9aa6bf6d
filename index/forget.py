"""Forgetting a head: its network, the features it made, their index (`remove --head NAME`).

The index goes first, then the head, and last one commit drops the table of features. Killed at any instant, the archive is as
after losing one of these, which stops no command, and the same call finishes. The files of the features stay for searches under
way, until `compact`; then the name is free again.

Costs one commit, and deleting the head's run folder.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from ..extract.commits import Commit, next_commit_id, write_commit
from ..extract.errors import Refused, UsageError
from ..extract.heads.apply import slug_of_head
from ..extract.heads.stored import JSON, WEIGHTS, heads_in_use, names
from ..extract.heads.stored import folder_of as folder_of_head
from ..extract.store import Store, utc_now
from .manifest import INDEX_FILE, folder_of


def forget_head(store: Store, name: str) -> None:
    """Take a head out of the archive: from then on nothing finds it or its features.

    Raises:
        UsageError: nothing is left of a head of this name, or there never was one.
        Refused: it stands in for its encoder; nothing was removed.
        OSError: something cannot be deleted; the same call again goes on from there.
    """
    store.refresh()
    head, slug = folder_of_head(store, name), slug_of_head(name)
    index = folder_of(store, slug)
    if not (store.video_ids(slug) or index.is_dir() or (head / JSON).is_file() or (head / WEIGHTS).is_file()):
        more = f" {head} is of a run that was not kept, or of towers; delete it by hand." if head.is_dir() else ""
        raise UsageError(
            f"archive {store.root} has no head {name!r}; it has: {', '.join(names(store)) or 'none'}.{more}"
        )
    bases = [base for base, used in heads_in_use(store).items() if used == name]
    if bases:
        raise Refused(
            f"head {name!r} is in use: searches of {' and '.join(bases)} go through it. Nothing was removed.\n"
            f"Go back to the encoder's own features first: nightreel index {store.root} --head none"
        )
    _delete(index, first=INDEX_FILE)  # what it does not name does not exist
    _delete(head, first=JSON, last=WEIGHTS)  # or a kill would leave a head without a network, or a folder with no name
    store.refresh()  # `index --head` may have committed rows meanwhile
    if store.video_ids(slug):
        write_commit(store.root / "commits", Commit(next_commit_id(store.state), utc_now(), dropped=(slug,)))
        store.refresh()


def _delete(folder: Path, first: str, last: str = "") -> None:
    """Delete a folder, of its files `first` first and `last` last; also beside another process that does the same."""
    with suppress(FileNotFoundError):
        for path in sorted(folder.iterdir(), key=lambda path: (path.name == last, path.name != first)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        folder.rmdir()
