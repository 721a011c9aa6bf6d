"""Heads on disk: whole or not at all, never overwritten, and nothing hostile is believed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nightreel.extract.errors import Damaged, UsageError
from nightreel.extract.heads import stored
from nightreel.extract.heads.networks import make_head
from nightreel.extract.heads.stored import folder_of, heads_in_use, load_stored, names, read_made, save_head, use
from nightreel.extract.heads.tuned import Adapter, Tuned


def save(archive: Any, name: str = "mine", kind: str = "lstm") -> Tuned:
    dim = int(archive.store.encoders()["toy"]["dim"])
    torch.manual_seed(1)
    tuned = Tuned(make_head(kind, dim), Adapter(dim))
    save_head(archive.store, name, tuned, base="toy", context=8, trained={"pairs": 3})
    return tuned


def test_a_head_comes_back_as_it_was(colours: Any) -> None:
    tuned = save(colours)
    again, made = load_stored(colours.store, "mine")
    assert (made.base, made.context, made.trained, made.base_print["spec"]) == ("toy", 8, {"pairs": 3}, "toy")
    assert names(colours.store) == ["mine"]
    assert not again.training
    for key, value in tuned.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[key], value)


def test_one_is_never_overwritten(colours: Any) -> None:
    save(colours)
    before = {path: path.read_bytes() for path in (colours.root / "heads").rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"has a head 'mine' already.*Choose another --name; it has: mine"):
        save(colours, kind="mean")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("name", ["", "none", "in_use", "../x", "a/b", ".hidden", "a b", "x" * 65])
def test_names_that_could_lead_astray_are_refused(name: str, colours: Any) -> None:
    with pytest.raises(UsageError, match="expected a name of letters"):
        folder_of(colours.store, name)


def test_an_unknown_head_is_said_with_those_that_are_there(colours: Any) -> None:
    with pytest.raises(UsageError, match="none yet; train one with"):
        read_made(colours.store, "other")
    save(colours)
    with pytest.raises(UsageError, match="has no head 'other'; it has: mine"):
        read_made(colours.store, "other")


@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "kind", "json", "version", "context"])
def test_damage_is_said(harm: str, colours: Any) -> None:
    save(colours)
    folder = colours.root / "heads" / "mine"
    weights, about = folder / stored.WEIGHTS, folder / stored.JSON
    data, facts = weights.read_bytes(), json.loads(about.read_text())
    if harm == "cut":
        weights.write_bytes(data[:-7])
    elif harm == "flip":
        weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "gone":
        weights.unlink()
    elif harm == "json":
        about.write_text("{")
    else:
        changed = {"kind": ("network", {}), "version": ("version", 2), "context": ("context", 0)}[harm]
        about.write_text(json.dumps({**facts, changed[0]: changed[1]}))
    with pytest.raises(Damaged, match="Restore it from a backup, or train the head anew"):
        load_stored(colours.store, "mine")


def test_which_is_in_use(colours: Any) -> None:
    assert heads_in_use(colours.store) == {}
    use(colours.store, "toy", None)
    use(colours.store, "toy", "before")
    use(colours.store, "toy", "mine")
    use(colours.store, "other-1.5", "theirs")
    assert heads_in_use(colours.store) == {"other-1.5": "theirs", "toy": "mine"}
    use(colours.store, "toy", None)
    assert heads_in_use(colours.store) == {"other-1.5": "theirs"}
    assert names(colours.store) == []


def test_two_at_once_keep_both(colours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process names its head between all that one reads and the writing of it."""
    real = stored.write_json

    def meanwhile(*args: Any, **kwargs: Any) -> bool:
        monkeypatch.setattr(stored, "write_json", real)
        use(colours.store, "other", "theirs")
        return real(*args, **kwargs)

    monkeypatch.setattr(stored, "write_json", meanwhile)
    use(colours.store, "toy", "mine")
    assert heads_in_use(colours.store) == {"other": "theirs", "toy": "mine"}


def test_what_another_process_is_writing_or_taking_out_counts_for_nothing(
    colours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(colours.store, "toy", "mine")
    use(colours.store, "other", "theirs")
    folder = colours.root / "heads" / stored.IN_USE
    (folder / ".tmp-1-ab-toy.json").write_text("")
    assert heads_in_use(colours.store) == {"other": "theirs", "toy": "mine"}
    real = Path.read_text

    def late(path: Path, *args: Any, **kwargs: Any) -> str:
        if path.name == "other.json":
            path.unlink()
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", late)
    assert heads_in_use(colours.store) == {"toy": "mine"}


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"head": 7}', '{"head": null}', "\xff"])
def test_a_broken_note_of_what_is_in_use_is_said(text: str, colours: Any) -> None:
    use(colours.store, "toy", "mine")
    (colours.root / "heads" / stored.IN_USE / "toy.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(Damaged, match=r"toy.json cannot be read.*Delete it"):
        heads_in_use(colours.store)
    use(colours.store, "toy", "mine")
    assert heads_in_use(colours.store) == {"toy": "mine"}
