"""No source on both sides, whatever the labels are; given splits are kept and checked."""

import numpy as np
import pytest
from archives import MadeArchive, MakeArchive
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.evaluate.records import Labelled
from nightreel.evaluate.splits import Leak, source_of
from nightreel.extract.errors import Refused, UsageError
from nightreel.finetune.probing.parts import MANY, make_parts


def uploads(count: int, clips: int = 2) -> list[Labelled]:
    """`clips` clips of each of so many uploads, named as QVHighlights names them."""
    return [Labelled(f"upload{u:05d}_{k}.0_{k + 1}.0", "ab"[u % 2]) for u in range(count) for k in range(clips)]


def sides(records: list[Labelled], rows: np.ndarray) -> set[str]:
    return {source_of(records[i]) for i in rows}


@pytest.fixture
def nothing(make_archive: MakeArchive) -> MadeArchive:
    """An archive without footage: nothing in it is a copy."""
    return make_archive()


@settings(max_examples=30, deadline=None)
@given(count=st.integers(15, 60), clips=st.integers(1, 3), seed=st.integers(0, 1000))
def test_no_source_is_on_two_sides_and_every_row_is_somewhere(count: int, clips: int, seed: int) -> None:
    records = uploads(count, clips)
    try:
        parts = make_parts(None, "toy", records, seed=seed, threshold=None)  # type: ignore[arg-type]
    except UsageError:
        return  # a part of a few may stay empty
    assert not sides(records, parts.train) & sides(records, parts.test)
    assert sorted([*parts.train, *parts.test]) == list(range(len(records)))
    assert sorted(parts.held) == sorted(parts.train)  # every trained row is held out once
    for fit, held in parts.folds:
        assert not sides(records, fit) & sides(records, held)
        assert sorted([*fit, *held]) == sorted(parts.train)


def test_the_order_of_the_labels_changes_nothing(nothing: MadeArchive) -> None:
    records = uploads(40)
    parts = make_parts(nothing.store, "toy", records)
    turned = make_parts(nothing.store, "toy", records[::-1])
    last = len(records) - 1
    assert sorted(last - turned.test) == sorted(parts.test)
    assert not np.array_equal(make_parts(nothing.store, "toy", records, seed=1).test, parts.test)


def test_copies_of_footage_go_together(make_archive: MakeArchive) -> None:
    rng, archive = np.random.default_rng(0), make_archive(dim=16)
    films = [rng.normal(size=(8, 16)) for _ in range(30)]
    records = []
    for number, film in enumerate(films):
        for copy in "ab":  # the same, encoded anew, under a name that does not tell
            archive.add(f"{copy}{number}.mp4", film + 0.01 * rng.normal(size=film.shape))
            records.append(Labelled(f"{copy}{number}", "x"))
    half = {"train": 0.5, "test": 0.5}
    parts = make_parts(archive.store, "toy", records, shares=half)
    assert parts.footage is not None
    assert parts.footage >= 30
    test = {records[i].video for i in parts.test}
    assert test
    assert all((f"a{number}" in test) == (f"b{number}" in test) for number in range(30))
    blind = make_parts(archive.store, "toy", records, shares=half, threshold=None)
    alone = {records[i].video for i in blind.test}
    assert any((f"a{number}" in alone) != (f"b{number}" in alone) for number in range(30))
    assert blind.footage is None


def test_given_splits_are_kept(nothing: MadeArchive) -> None:
    names = {"train": ["a", "b", "c", "d"], "validation": ["e"], "Test": ["f"]}
    records = [Labelled(video, "x", split) for split, videos in names.items() for video in videos]
    parts = make_parts(nothing.store, "toy", records, threshold=None)
    assert parts.given
    assert (parts.train.tolist(), parts.test.tolist()) == ([0, 1, 2, 3, 4], [5])
    assert [(fit.tolist(), held.tolist()) for fit, held in parts.folds] == [([0, 1, 2, 3], [4])]


def test_a_validation_split_measures_where_there_is_no_test(nothing: MadeArchive) -> None:
    records = [Labelled(f"{i}", "x", "train" if i < 8 else "validate") for i in range(10)]
    parts = make_parts(nothing.store, "toy", records, threshold=None)
    assert parts.test.tolist() == [8, 9]
    assert sorted(parts.held) == list(range(8))
    assert "settings are chosen inside train" in parts.notes[0]


def test_a_leak_between_given_splits_is_an_error(make_archive: MakeArchive) -> None:
    rng, archive = np.random.default_rng(0), make_archive(dim=16)
    films = [rng.normal(size=(8, 16)) for _ in range(6)]
    for number, film in enumerate([*films, films[0] + 0.01 * rng.normal(size=(8, 16))]):
        archive.add(f"{number}.mp4", film)
    records = [Labelled(str(i), "x", "train" if i < 4 else "test") for i in range(7)]
    with pytest.raises(Leak, match="the same footage"):
        make_parts(archive.store, "toy", records)
    make_parts(archive.store, "toy", records[:6])
    same = [Labelled("v_Run_g01_c01", "x", "train"), Labelled("v_Run_g01_c02", "x", "test")]
    with pytest.raises(Leak, match="v_Run_g01"):
        make_parts(archive.store, "toy", same, threshold=None)
    with pytest.raises(Refused, match="have no features"):
        make_parts(archive.store, "toy", [*records, Labelled("nowhere", "x", "test")])


def test_of_many_only_one_fold_is_held_out(nothing: MadeArchive) -> None:
    records = [Labelled(f"v{i}", "x", "train") for i in range(MANY + 1)] + [Labelled("t", "x", "test")]
    parts = make_parts(nothing.store, "toy", records, threshold=None)
    assert len(parts.folds) == 1
    assert 0.1 < len(parts.held) / MANY < 0.3


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([Labelled("a", "x", "train"), Labelled("b", "x")], "b has none; expected all or none"),
        ([Labelled("a", "x", "train"), Labelled("b", "x", "holdout")], "'holdout'; expected one of train"),
        ([Labelled("a", "x", "train"), Labelled("b", "x", "train")], "expected train and test"),
        ([Labelled("a", "x", "test")], "expected train and test"),
        ([Labelled("a", "x"), Labelled("b", "x")], "label more videos"),
    ],
)
def test_labels_that_cannot_be_parted(nothing: MadeArchive, records: list[Labelled], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_parts(nothing.store, "toy", records, threshold=None)


def test_one_source_in_train_cannot_choose_anything(nothing: MadeArchive) -> None:
    records = [
        Labelled("v_Run_g01_c01", "x", "train"),
        Labelled("v_Run_g01_c02", "y", "train"),
        Labelled("t", "x", "test"),
    ]
    with pytest.raises(Refused, match="of one source"):
        make_parts(nothing.store, "toy", records, threshold=None)
