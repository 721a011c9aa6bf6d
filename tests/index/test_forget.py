"""`remove --head`: a head goes with all that it made, and a kill at any point leaves an archive that works."""

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import nightreel
from nightreel import Archive
from nightreel.extract import commits
from nightreel.extract.compact import compact
from nightreel.extract.errors import NightreelError, Refused, UsageError
from nightreel.extract.heads.apply import apply_head
from nightreel.extract.heads.networks import make_head
from nightreel.extract.heads.stored import names, save_head, use
from nightreel.extract.heads.tuned import Tuned
from nightreel.extract.store import Store
from nightreel.extract.verify import verify
from nightreel.extract.writer import Writer
from nightreel.index import forget
from nightreel.index.build import build_index, compact_indexes
from nightreel.index.forget import forget_head
from nightreel.index.info import summary
from nightreel.index.manifest import damage


def add_head(archive: Any, name: str, seed: int = 0) -> None:
    torch.manual_seed(seed)
    dim = int(archive.store.encoders()["toy"]["dim"])
    save_head(archive.store, name, Tuned(make_head("lstm", dim)), base="toy", context=4)
    run = archive.root / "heads" / name / "run" / "fold-1"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text("{}\n")


@pytest.fixture
def headed(colours: Any) -> Any:
    """The archive of `colours`, indexed, with heads `mine` and `other` and their features and indexes; none is in use."""
    for seed, name in enumerate(("mine", "other")):
        add_head(colours, name, seed)
        apply_head(colours.store, name)
    for slug in ("toy", "head-mine", "head-other"):
        build_index(colours.store, slug)
    return colours


def traces(root: Path, name: str = "mine") -> list[str]:
    """What there is of a head besides commits."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if name in path.parts[-1])


def paths(found: list[Any]) -> list[tuple[str, float, float]]:
    return [(hit.path, hit.start_s, round(hit.score, 4)) for hit in found]


def hits(root: Path, encoder: str = "toy") -> list[tuple[str, float, float]]:
    return paths(Archive(root, encoder).search("red"))


def age(root: Path, hours: float = 2) -> None:
    for path in root.rglob("*"):
        os.utime(path, (time.time() - 3600 * hours,) * 2)


def require_sound(root: Path) -> dict[str, Any]:
    """Nothing is damaged, and what people run every night does its work; gives what `info` says."""
    store = Store.open(root)
    assert verify(store).problems + damage(store) == []
    compact(store)
    compact_indexes(store)
    Archive(root).build_indexes()
    assert verify(store).problems + damage(store) == []
    return summary(store)


def test_a_head_goes_with_all_that_it_made_and_nothing_else_does(headed: Any) -> None:
    before, other = hits(headed.root), hits(headed.root, "head-other")
    code, out, err = nightreel("remove", headed.root, "--head", "mine", "--json")
    assert (code, json.loads(out)["removed"]) == (0, [{"head": "mine"}]), err
    assert names(headed.store) == ["other"]
    assert traces(headed.root) == ["features/head-mine"]
    info = require_sound(headed.root)
    assert set(info["encoders"]) == set(info["indexes"]) == {"toy", "head-other"}
    assert (hits(headed.root), hits(headed.root, "head-other")) == (before, other)
    for words in (("search", headed.root, "red", "--encoder", "head:mine"), ("index", headed.root, "--head", "mine")):
        assert nightreel(*words).code == 2

    raw = sum(path.stat().st_size for path in (headed.root / "features" / "head-mine").iterdir())
    assert compact(headed.store).bytes_waiting > 0
    age(headed.root)
    done = compact(headed.store)
    assert (done.bytes_freed, done.bytes_waiting, traces(headed.root)) == (raw, 0, [])
    assert compact(headed.store).bytes_freed == 0
    assert set(require_sound(headed.root)["encoders"]) == {"toy", "head-other"}


def test_what_it_says_to_people(headed: Any) -> None:
    done = nightreel("remove", headed.root, "--head", "mine")
    assert (done.code, done.out) == (0, "removed head mine\n")
    assert "nightreel compact" in done.err
    for words, said in (((), "got neither"), (("red.mp4", "--head", "other"), "got both")):
        done = nightreel("remove", headed.root, *words)
        assert (done.code, said in done.err) == (2, True)
    assert names(headed.store) == ["other"]
    assert len(headed.store.videos()) == 3


def test_one_in_use_is_refused(headed: Any) -> None:
    nightreel("index", headed.root, "--head", "mine")
    before = {path: path.read_bytes() for path in headed.root.rglob("*") if path.is_file()}
    done = nightreel("remove", headed.root, "--head", "mine", "--json")
    assert (done.code, done.out) == (4, "")
    assert "searches of toy go through it" in done.err
    assert f"nightreel index {headed.root} --head none" in done.err
    assert {path: path.read_bytes() for path in headed.root.rglob("*") if path.is_file()} == before
    nightreel("index", headed.root, "--head", "other")
    forget_head(headed.store, "mine")
    assert require_sound(headed.root)["heads_in_use"] == {"toy": "other"}


@pytest.mark.parametrize("name", ["nobody", "toy", "run", "in_use", "none", "../heads/mine", ""])
def test_what_is_no_head_is_said_with_those_that_are(headed: Any, name: str) -> None:
    before = traces(headed.root)
    with pytest.raises(UsageError, match=r"it has: mine, other|expected a name of letters"):
        forget_head(headed.store, name)
    assert traces(headed.root) == before


def test_one_that_never_made_features_and_one_whose_files_are_lost(headed: Any) -> None:
    add_head(headed, "fresh")
    before = headed.store.commit_ids
    forget_head(headed.store, "fresh")
    assert (headed.store.commit_ids, traces(headed.root, "fresh")) == (before, [])
    (headed.root / "heads" / "mine" / "head.json").write_text("{")
    (headed.root / "index" / "head-mine" / "index.json").write_text("{")
    (headed.root / "heads" / "other" / "head.json").unlink()
    for name in ("mine", "other"):
        forget_head(headed.store, name)
        with pytest.raises(UsageError, match=r"it has: none|it has: other"):
            forget_head(headed.store, "mine")
    assert set(require_sound(headed.root)["encoders"]) == {"toy"}


def test_the_name_is_free_again_after_compact(headed: Any) -> None:
    forget_head(headed.store, "mine")
    with pytest.raises(UsageError, match=r"is free again after: nightreel compact .* --now"):
        add_head(headed, "mine", 7)
    compact(headed.store, now=True)
    add_head(headed, "mine", 7)
    apply_head(headed.store, "mine")
    before = headed.store.segments_of("head-mine", headed.store.video_ids("toy")[0]).embedding
    for now in (True, False):
        age(headed.root)
        compact(headed.store, now=now)
    assert (headed.store.segments_of("head-mine", headed.store.video_ids("toy")[0]).embedding == before).all()
    assert require_sound(headed.root)["encoders"]["head-mine"]["videos"] == 3


def test_a_new_table_that_has_no_rows_yet_keeps_its_fingerprint(headed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_head(headed.store, "mine")
    compact(headed.store, now=True)
    add_head(headed, "mine", 7)
    real = Writer.commit

    def slow(writer: Writer) -> bool:
        compact(Store.open(headed.root), now=True)
        return real(writer)

    monkeypatch.setattr(Writer, "commit", slow)
    assert apply_head(headed.store, "mine") == 3
    assert require_sound(headed.root)["encoders"]["head-mine"]["videos"] == 3


def test_searches_under_way_go_on_reading(headed: Any) -> None:
    reader, searching = Store.open(headed.root), Archive(headed.root, "head:mine")
    before = paths(searching.search("red"))
    assert before
    segments = reader.segments("head-mine")
    first = next(segments)
    forget_head(headed.store, "mine")
    compact(headed.store)
    assert len(first) + sum(map(len, segments)) == 15
    for now in (False, True):  # one that looks at the archive again finds nothing, or says why
        with contextlib.suppress(NightreelError):
            assert searching.search("red") == []
        compact(headed.store, now=now)
    assert Archive(headed.root).search("red")


def test_a_head_that_is_removed_while_it_maps_does_not_come_back(headed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    headed.add("sky.mp4", ["blue"] * 9)
    real = Writer.add_segments

    def meanwhile(*args: Any) -> None:
        forget_head(Store.open(headed.root), "mine")
        real(*args)

    monkeypatch.setattr(Writer, "add_segments", meanwhile)
    with pytest.raises(UsageError, match="has no head 'mine'; it has: other"):
        apply_head(headed.store, "mine")
    assert set(require_sound(headed.root)["encoders"]) == {"toy", "head-other"}


# --- faults --------------------------------------------------------------------------------------------------

FAULTS = {
    "deleting": (Path, "unlink"),
    "folders": (Path, "rmdir"),
    "run": (forget.shutil, "rmtree"),
    "commit": (forget, "write_commit"),
    "naming": (os, "replace"),
    "fsync": (os, "fsync"),
}


@pytest.mark.parametrize("where", FAULTS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_point_the_archive_works_and_a_repeat_finishes(
    headed: Any, monkeypatch: pytest.MonkeyPatch, where: str, after: bool
) -> None:
    searched, place, name = hits(headed.root), *FAULTS[where]
    real: Callable[..., Any] = getattr(place, name)
    for killed_at in range(1, 20):
        calls = 0

        def faulty(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == killed_at:  # noqa: B023
                if after:
                    real(*args, **kwargs)
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(place, name, faulty)
            with contextlib.suppress(KeyboardInterrupt):
                forget_head(Store.open(headed.root), "mine")
        if calls < killed_at:
            break
        require_sound(headed.root)
        assert hits(headed.root) == searched
        with contextlib.suppress(UsageError):  # nothing was left to do
            forget_head(Store.open(headed.root), "mine")
        assert set(require_sound(headed.root)["encoders"]) == {"toy", "head-other"}
        compact(Store.open(headed.root), now=True)
        age(headed.root)
        compact(Store.open(headed.root))
        assert (traces(headed.root), verify(Store.open(headed.root)).orphans) == ([], [])
        headed.store.refresh()
        add_head(headed, "mine")
        apply_head(headed.store, "mine")
        build_index(headed.store, "head-mine")
    assert killed_at > 1


def test_one_that_never_made_features_can_be_finished_too(headed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.unlink
    for killed_at in (1, 2):
        add_head(headed, "fresh")
        calls = 0

        def faulty(*args: Any, **kwargs: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == killed_at:  # noqa: B023
                raise KeyboardInterrupt
            real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", faulty)
            with pytest.raises(KeyboardInterrupt):
                forget_head(headed.store, "fresh")
        forget_head(headed.store, "fresh")
        assert traces(headed.root, "fresh") == []


def test_two_at_once_do_not_trip_over_each_other(headed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = forget._delete

    def meanwhile(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(forget, "_delete", real)
        forget_head(Store.open(headed.root), "mine")
        real(*args, **kwargs)

    monkeypatch.setattr(forget, "_delete", meanwhile)
    forget_head(headed.store, "mine")
    assert set(require_sound(headed.root)["encoders"]) == {"toy", "head-other"}


def test_one_put_to_use_meanwhile_leaves_the_encoders_own_features(headed: Any) -> None:
    forget_head(headed.store, "mine")
    use(headed.store, "toy", "mine")  # by a process that had looked before
    assert Archive(headed.root).slug == "toy"
    assert require_sound(headed.root)["heads_in_use"] == {"toy": "mine"}
    with pytest.raises(UsageError):
        forget_head(headed.store, "mine")


# --- pure rules ----------------------------------------------------------------------------------------------


def test_a_drop_hides_what_came_before_it_and_nothing_else(tmp_path: Path) -> None:
    def file(path: str, table: str) -> commits.DataFile:
        return commits.DataFile(path, table, 1, 1, "", ("a",))

    first = commits.Commit("1", "", (file("x1", "x"), file("y1", "y")))
    drop = commits.Commit("2", "", dropped=("x", "nothing"))
    both = commits.Commit("3", "", (file("x3", "x"),), dropped=("x",))
    assert {t: f["a"].path for t, f in commits.visible([drop, first]).rows.items()} == {"y": "y1"}
    assert commits.visible([first, drop, both]).rows["x"]["a"].path == "x3"
    stored = commits.Commit("ab" * 12, "", dropped=("x",))
    commits.write_commit(tmp_path, stored)
    path = tmp_path / f"{stored.id}.json"
    assert commits.read_commit(path) == stored
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({key: raw[key] for key in ("id", "created", "files", "removed")}))
    assert commits.read_commit(path).dropped == ()  # as those before there were heads
    path.write_text(json.dumps({**raw, "dropped": ["../../x"]}))
    with pytest.raises(Refused, match="outside the archive"):
        commits.read_commit(path)
