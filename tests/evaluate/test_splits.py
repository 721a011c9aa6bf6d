"""Splits by source, and leaks of three kinds: a video, a source, footage. A leak is an error that names the videos."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.evaluate import splits as splits_module
from nightreel.evaluate.records import Labelled, Query
from nightreel.evaluate.splits import (
    Leak,
    check_leaks,
    duplicates_between,
    pairs_between,
    source_of,
    split_by_source,
)
from nightreel.extract.errors import Refused, UsageError
from nightreel.index import duplicates
from nightreel.index.duplicates import find_duplicates

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("NUsG9BgSes0_210.0_360.0", "NUsG9BgSes0"),
        ("---QUuC4vJs_000084_000094", "---QUuC4vJs"),
        ("kinetics/val/---QUuC4vJs_000084_000094.mp4", "---QUuC4vJs"),
        ("-4wsuPCjDBc_5_15", "-4wsuPCjDBc"),
        ("a_b_c_d_e_1_2_3", "a_b_c_d_e_1"),  # ids have underscores
        ("v_QOlSCBRmfWY", "QOlSCBRmfWY"),
        ("v_ApplyEyeMakeup_g08_c01", "v_ApplyEyeMakeup_g08"),
        ("video7020", "video7020"),
        ("tape_10_20", "tape_10_20"),  # no id of 11 characters: clips of someone's own are told apart by name
        ("---QUuC4vJs_94_84", "---QUuC4vJs_94_84"),  # no span
        ("56453806@N00_7230922386_1964997910", "56453806@N00_7230922386_1964997910"),
        ("s30-d52", "s30-d52"),
        ("monday/clip1.mp4", "monday/clip1.mp4"),  # not tuesday/clip1.mp4
    ],
)
def test_the_source_by_the_name(name: str, source: str) -> None:
    assert source_of(name) == source


def test_the_record_knows_better_than_the_name() -> None:
    assert source_of(Query("1", "a dog", "video7", source="9lZi22qLlEo")) == "9lZi22qLlEo"
    assert source_of(Labelled("v_ApplyEyeMakeup_g08_c01", "ApplyEyeMakeup")) == "v_ApplyEyeMakeup_g08"


# --- making splits --------------------------------------------------------------------------------------------

NAMES = st.builds(
    lambda upload, start: f"{upload:011d}_{start}_{start + 10}",
    st.integers(0, 30),
    st.integers(0, 5),
)


def part_of(parts: dict[str, list[str]]) -> dict[str, str]:
    return {record: part for part, records in parts.items() for record in records}


@settings(deadline=None)
@given(records=st.lists(NAMES, max_size=40), more=st.lists(NAMES, max_size=40), seed=st.integers(0, 3))
def test_splits_are_whole_without_leak_and_do_not_move(records: list[str], more: list[str], seed: int) -> None:
    parts = split_by_source(records, SHARES, seed)
    assert sorted(record for part in parts.values() for record in part) == sorted(records)
    check_leaks(parts)
    for name, part in parts.items():  # the order of the records stays
        assert part == [record for record in records if part_of(parts)[record] == name]
    grown = part_of(split_by_source([*more, *records], SHARES, seed))
    assert all(grown[record] == part for record, part in part_of(parts).items())


def test_shares_are_met_and_seeds_differ() -> None:
    names = [f"video{number}" for number in range(20_000)]
    parts = split_by_source(names, SHARES)
    for name, share in SHARES.items():
        assert len(parts[name]) / len(names) == pytest.approx(share, abs=0.012)  # 3.7 standard deviations
    both = set(parts["test"]) & set(split_by_source(names, SHARES, seed=1)["test"])
    assert len(both) / len(names) == pytest.approx(0.04, abs=0.006)  # as by chance


def test_splits_are_the_same_on_every_machine() -> None:
    parts = split_by_source([f"video{number}" for number in range(12)], SHARES)
    assert {name: [video.removeprefix("video") for video in part] for name, part in parts.items()} == {
        "train": ["1", "4", "6", "8", "9"],
        "val": ["11"],
        "test": ["0", "2", "3", "5", "7", "10"],
    }


def test_shares_that_fall_short_of_one_by_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits_module, "_unit_hash", lambda text: 1 - 2**-53)  # ten times 0.1, added up, is just this
    assert split_by_source(["a"], {str(part): 0.1 for part in range(10)})["9"] == ["a"]


def test_odd_names_have_a_part() -> None:
    assert len(split_by_source(["", "\udcff", "ü", "x" * 10_000], {"all": 1})["all"]) == 4


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 0.5, "b": 0.6}, {"a": 1.0, "b": 0.0}, {"a": float("nan")}])
def test_shares_that_are_none(shares: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"shares of the splits: got .*; expected numbers above 0 that add up to 1"):
        split_by_source(["a"], shares)


def pair(a: str, b: str) -> dict[str, Any]:
    """As `find_duplicates` gives it."""

    def side(name: str) -> dict[str, Any]:
        return {"video_id": f"id-{name}", "path": f"/films/{name}.mp4", "start_s": 0.0, "end_s": 5.0}

    return {"a": side(a), "b": side(b), "similarity": 0.97, "segments": 5}


LETTERS = [chr(ord("a") + number) for number in range(12)]


@settings(deadline=None)
@given(
    ends=st.lists(st.tuples(st.sampled_from(LETTERS), st.sampled_from(LETTERS)), max_size=12), seed=st.integers(0, 9)
)
def test_copies_go_together(ends: list[tuple[str, str]], seed: int) -> None:
    pairs = [pair(*two) for two in ends if two[0] != two[1]]
    parts = split_by_source(LETTERS, SHARES, seed, together=pairs)
    assert sorted(part_of(parts)) == LETTERS
    check_leaks(parts, pairs)
    reversed_ends = split_by_source(LETTERS[::-1], SHARES, seed, together=pairs[::-1])
    assert part_of(parts) == part_of(reversed_ends)
    alone = set(LETTERS) - {name for two in ends if two[0] != two[1] for name in two}
    free = part_of(split_by_source(LETTERS, SHARES, seed))
    assert all(part_of(parts)[name] == free[name] for name in alone)
    for part in set(part_of(parts).values()):  # that of one of those that go together
        assert any(free[name] == part for name, now in part_of(parts).items() if now == part)


def test_copies_do_not_crowd_into_the_first_part() -> None:
    names = [f"{letter}{number}" for number in range(300) for letter in "abc"]
    pairs = [pair(f"a{number}", f"{other}{number}") for number in range(300) for other in "bc"]
    parts = split_by_source(names, {"train": 0.8, "test": 0.2}, 0, together=pairs)
    assert 0.14 < len(parts["test"]) / len(names) < 0.26  # by the least hash of three it would be 0.8 %


# --- checking them --------------------------------------------------------------------------------------------


def test_what_does_not_leak() -> None:
    check_leaks({})
    check_leaks({"train": [], "test": ["a"]})
    check_leaks({"train": [Query("1", "x", "a"), Query("2", "y", "a")], "test": [Labelled("b", "jump")]})
    check_leaks({"train": ["a", "c"], "test": ["b"]}, [pair("a", "c"), pair("b", "elsewhere"), pair("x", "y")])
    check_leaks({"train": ["monday/clip1.mp4"], "test": ["tuesday/clip1.mp4"]})


def test_a_shared_video_leaks() -> None:
    train = [Query(str(number), "x", f"video{number}") for number in range(9)]
    with pytest.raises(Leak) as leak:
        check_leaks({"train": train, "val": [Labelled("z", "jump")], "test": train[1:]})
    assert isinstance(leak.value, Refused)
    assert leak.value.exit_code == 4
    assert "the splits train, val, test leak" in str(leak.value)
    assert "8 in train and test: video1, video2, video3, video4, video5 and 3 more\n" in str(leak.value)
    assert "from sources" not in str(leak.value)  # said once
    assert "split_by_source" in str(leak.value)


def test_a_shared_source_leaks() -> None:
    with pytest.raises(Leak) as leak:
        check_leaks({"train": ["NUsG9BgSes0_60.0_210.0", "a"], "test": ["NUsG9BgSes0_210.0_360.0", "b"]})
    assert (
        "1 from sources in train and test: NUsG9BgSes0 (NUsG9BgSes0_60.0_210.0 in train, NUsG9BgSes0_210.0_360.0 in test)"
    ) in str(leak.value)
    url = {"source": "9lZi22qLlEo"}
    with pytest.raises(Leak, match="9lZi22qLlEo"):
        check_leaks({"train": [Query("1", "x", "video0", **url)], "test": [Query("2", "y", "video9", **url)]})


def test_a_shared_source_is_seen_beside_a_shared_video() -> None:
    """One clip in both splits, and another clip of its upload in the second only."""
    with pytest.raises(Leak) as leak:
        check_leaks({"train": ["NUsG9BgSes0_1_2"], "test": ["NUsG9BgSes0_3_4", "NUsG9BgSes0_1_2"]})
    assert "1 in train and test: NUsG9BgSes0_1_2" in str(leak.value)
    assert "from sources" in str(leak.value)


def test_shared_footage_leaks() -> None:
    with pytest.raises(Leak) as leak:
        check_leaks({"train": ["a", "b"], "test": ["c"]}, [pair("a", "b"), pair("a", "c")])
    assert "the same footage: /films/a.mp4 [0, 5) s and /films/c.mp4 [0, 5) s, similarity 0.97" in str(leak.value)
    assert "/films/b.mp4" not in str(leak.value)
    many = [pair("a", "c")] * 7
    with pytest.raises(Leak, match="and 2 more pairs with the same footage"):
        check_leaks({"train": ["/films/a.mp4"], "test": ["id-c"]}, many)  # by path, by id


@settings(deadline=None)
@given(
    members=st.lists(st.sampled_from(["train", "test", "none"]), min_size=12, max_size=12),
    ends=st.lists(st.tuples(st.sampled_from(LETTERS), st.sampled_from(LETTERS)), max_size=12),
)
def test_pairs_between_splits_are_those_that_cross(members: list[str], ends: list[tuple[str, str]]) -> None:
    of = dict(zip(LETTERS, members, strict=True))
    splits = {name: [letter for letter in LETTERS if of[letter] == name] for name in ("train", "test")}
    pairs = [pair(*two) for two in ends if two[0] != two[1]]
    crossing = [two for two in ends if two[0] != two[1] and {of[two[0]], of[two[1]]} == {"train", "test"}]
    assert pairs_between(splits, pairs) == [pair(*two) for two in crossing]
    if crossing:
        with pytest.raises(Leak):
            check_leaks(splits, pairs)
    else:
        check_leaks(splits, pairs)


# --- in an archive --------------------------------------------------------------------------------------------

DIM = 64


def film(seed: int, seconds: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(seconds, DIM))


@pytest.fixture
def archive(make_archive: Callable[..., Any]) -> Any:
    """Eight films that have nothing in common, a tape, an excerpt of it, and a copy of the excerpt."""
    archive = make_archive("rand", dim=DIM, spec="toy")
    for number in range(8):
        archive.add(f"other{number}.mp4", film(number))
    tape = film(50, 40)
    archive.add("tape.mp4", tape)
    archive.add("excerpt.mp4", tape[10:20])
    archive.add("copy.mp4", tape[10:20] + 0.01)
    return archive


OTHERS = [f"other{number}" for number in range(8)]


def test_copies_in_an_archive(archive: Any) -> None:
    splits = {"train": [*OTHERS[:5], "tape"], "test": [*OTHERS[5:], "excerpt", "copy"]}
    found = duplicates_between(archive.store, archive.slug, splits)
    assert {(one["a"]["path"], one["b"]["path"]) for one in found} == {
        ("/films/tape.mp4", "/films/excerpt.mp4"),
        ("/films/tape.mp4", "/films/copy.mp4"),
    }
    with pytest.raises(Leak, match=r"tape.mp4 \[10, 20\) s and /films/(copy|excerpt).mp4 \[0, 10\) s"):
        check_leaks(splits, found)
    together = {"train": OTHERS[:5], "test": [*OTHERS[5:], "tape", "excerpt", "copy"]}
    assert duplicates_between(archive.store, archive.slug, together) == []
    every = [*OTHERS, "tape", "excerpt", "copy"]
    remedied = split_by_source(every, {"a": 0.5, "b": 0.5}, together=find_duplicates(archive.store, archive.slug))
    check_leaks(remedied, duplicates_between(archive.store, archive.slug, remedied))


@pytest.mark.parametrize("order", [["test"] + ["train"] * 6, ["train"] * 6 + ["test"], ["train", "test"] * 3])
def test_one_leak_of_many_copies_is_found_in_any_order(
    make_archive: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, order: Sequence[str]
) -> None:
    """More copies in one split than a segment has neighbours: a pair across the splits is found still."""
    monkeypatch.setattr(duplicates, "NEIGHBOURS", 2)
    monkeypatch.setattr(duplicates, "BLOCK", 1)
    archive = make_archive("rand", dim=DIM, spec="toy")
    for other in range(8):
        archive.add(f"other{other}.mp4", film(other, 6))
    splits: dict[str, list[str]] = {"train": [], "test": []}
    for place, split in enumerate(order):
        archive.add(f"copy{place}.mp4", film(99, 6) + place * 1e-3)
        splits[split].append(f"copy{place}")
    with pytest.raises(Leak):
        check_leaks(splits, duplicates_between(archive.store, archive.slug, splits))


def test_videos_that_nobody_can_check(archive: Any) -> None:
    with pytest.raises(Refused, match=r"1 videos of the splits have no features: lost\.\nExpected all of them"):
        duplicates_between(archive.store, archive.slug, {"train": ["tape"], "test": ["lost", "tape"]})
