"""Parts: never one source in both, what the file says is kept and checked, and few sources still leave some to validate."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from nightreel.evaluate.splits import Leak
from nightreel.extract.errors import UsageError
from nightreel.finetune.captions import parts as parts_module
from nightreel.finetune.captions.examples import Examples, build_examples
from nightreel.finetune.captions.pairs import Pair
from nightreel.finetune.captions.parts import Parts, alike, credible, split_examples

DIM = 8
Make = Callable[..., tuple[Any, Examples]]


def random_text(texts: Sequence[str]) -> np.ndarray:
    vectors = np.random.default_rng(len(texts)).normal(size=(len(texts), DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def make(make_archive: Any) -> Make:
    """make(count, pairs=None, copies=[("0", "3")]): videos `0.mp4` ... of 6 random frames, and two pairs of each."""

    def build(
        count: int, pairs: list[Pair] | None = None, copies: Sequence[tuple[int, int]] = ()
    ) -> tuple[Any, Examples]:
        archive = make_archive(name=f"{count}.reel", dim=DIM)
        rng = np.random.default_rng(7)
        films = [rng.normal(size=(6, DIM)).astype(np.float32) for _ in range(count)]
        for a, b in copies:
            films[b] = films[a]
        for number, film in enumerate(films):
            archive.add(f"{number}.mp4", film)
        told = pairs or [
            Pair(f"{n}.mp4", None, None, f"film {n}, {t}") for n in range(count) for t in ("once", "again")
        ]
        return archive.store, build_examples(archive.store, "toy", told, random_text)

    return build


def sources(parts: Parts) -> tuple[set[str], set[str]]:
    return set(parts.train.sources), set(parts.val.sources)


@pytest.mark.parametrize(("count", "held"), [(2, 1), (3, 1), (5, 1), (6, 2), (8, 2), (19, 2)])
def test_of_few_sources_a_part_validates_and_a_note_says_how_few(make: Make, count: int, held: int) -> None:
    store, examples = make(count)
    for seed in range(5):
        parts = split_examples(examples, store, "toy", seed=seed, footage=False)
        train, val = sources(parts)
        assert len(val) == held
        assert len(train) == count - held
        assert not train & val
        assert len(parts.train) + len(parts.val) == len(examples)
        assert f"{held} of only {count} source videos validate" in parts.notes[0]
        assert not parts.given


def test_of_many_sources_the_hash_decides_and_more_videos_move_none(make: Make) -> None:
    (store, small), (_, large) = make(24), make(30)
    parts = split_examples(small, store, "toy", share=0.25, footage=False)
    grown = split_examples(large, store, "toy", share=0.25, footage=False)
    assert parts.notes == ()
    assert 1 <= len(sources(parts)[1]) <= 12
    assert sources(parts)[0] <= sources(grown)[0]
    assert sources(parts)[1] <= sources(grown)[1]
    other = split_examples(small, store, "toy", share=0.25, seed=1, footage=False)
    assert sources(other) != sources(parts)


def test_one_source_cannot_be_split(make: Make) -> None:
    store, examples = make(1)
    with pytest.raises(UsageError, match=r"all captions are of one upload .*nothing can be held out"):
        split_examples(examples, store, "toy")
    store, examples = make(3, [Pair(f"{n}.mp4", None, None, f"film {n}", source="tape") for n in range(3)])
    with pytest.raises(UsageError, match=r"all captions are of one upload \(tape\)"):
        split_examples(examples, store, "toy")


def test_copies_of_footage_stay_together(make: Make) -> None:
    store, examples = make(4, copies=[(0, 1), (0, 2)])
    for seed in range(5):
        parts = split_examples(examples, store, "toy", seed=seed)
        assert len(parts.copies) == 3
        assert {"/films/0.mp4", "/films/1.mp4", "/films/2.mp4"} in sources(parts)
    groups = alike(examples, parts.copies)
    assert len(set(groups[:6].tolist())) == 1
    assert groups[6] == groups[7] != groups[0]
    store, examples = make(3, copies=[(0, 1), (0, 2)])
    with pytest.raises(UsageError, match="3 uploads that show the same footage"):
        split_examples(examples, store, "toy")


def test_too_many_segments_are_not_compared_and_a_note_says_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store, examples = make(4, copies=[(0, 1)])
    monkeypatch.setattr(parts_module, "MOST_SEGMENTS", 23)
    parts = split_examples(examples, store, "toy")
    assert parts.copies == ()
    assert "24 segments are more than 23" in parts.notes[0]


def named(
    *splits: str | None, source: Sequence[str | None] = (None,) * 9, weight: Sequence[float] = (1.0,) * 9
) -> list[Pair]:
    return [
        Pair(f"{n}.mp4", None, None, f"film {n}", split, source[n], weight[n], f"p.csv, line {n + 2}")
        for n, split in enumerate(splits)
    ]


def captions(examples: Examples) -> list[str]:
    return [pair.caption for pair in examples.pairs]


def test_what_the_file_says_is_kept(make: Make) -> None:
    store, examples = make(5, named("train", "Validation", "test", "train", "val"))
    parts = split_examples(examples, store, "toy")
    assert captions(parts.train) == ["film 0", "film 3"]
    assert captions(parts.val) == ["film 1", "film 4"]
    assert parts.given
    assert parts.notes == ("1 pairs of the split test are not looked at.",)


def test_pairs_without_a_split_go_where_their_source_is_or_train(make: Make) -> None:
    pairs = [*named("train", "val", None), Pair("1.mp4", 0, 2, "also of film 1", line="p.csv, line 9")]
    store, examples = make(3, pairs)
    parts = split_examples(examples, store, "toy")
    assert captions(parts.train) == ["film 0", "film 2"]
    assert captions(parts.val) == ["film 1", "also of film 1"]


def test_without_a_validation_of_its_own_a_part_of_the_training_is_held_out(make: Make) -> None:
    store, examples = make(5, named("train", "train", "train", "test", "test"))
    parts = split_examples(examples, store, "toy")
    assert sorted(captions(parts.train) + captions(parts.val)) == ["film 0", "film 1", "film 2"]
    assert len(parts.val) == 1
    assert not parts.given


def test_what_the_file_says_must_not_leak(make: Make) -> None:
    store, examples = make(3, named("train", "val", "test", source=["a", "a", "b"]))
    with pytest.raises(Leak, match="from sources in train and val: a"):
        split_examples(examples, store, "toy")
    store, examples = make(4, [*named("train", "val"), Pair("0.mp4", 0, 2, "the same film", "val")])
    with pytest.raises(Leak, match=r"1 in train and val: /films/0\.mp4"):
        split_examples(examples, store, "toy")
    store, examples = make(5, named("train", "val", "train", "train", "test"), copies=[(0, 4)])
    with pytest.raises(Leak, match=r"the same footage: /films/0.mp4 .* and /films/4.mp4"):
        split_examples(examples, store, "toy")


def test_splits_that_are_none(make: Make) -> None:
    store, examples = make(2, named("train", "later"))
    with pytest.raises(UsageError, match=r"p.csv, line 3: the split is 'later'; expected one of train"):
        split_examples(examples, store, "toy")
    store, examples = make(3, named("val", "val", "test"))
    with pytest.raises(UsageError, match="no pair trains"):
        split_examples(examples, store, "toy")
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(UsageError, match="share of the validation"):
            split_examples(examples, store, "toy", share=share)


def test_weak_captions_train_and_do_not_validate_while_there_are_others(make: Make) -> None:
    weak = [Pair(f"{n}.mp4", 0, 2, f"said in {n}", weight=0.5) for n in range(6)]
    store, examples = make(6, named(*[None] * 3) + weak)
    for seed in range(5):
        parts = split_examples(examples, store, "toy", seed=seed)
        assert len(parts.val) == 1  # of the 3 videos with a caption of their own
        assert not parts.val.pairs[0].weak
        assert not set(parts.train.sources) & set(parts.val.sources)
        assert any("weak captions of the validation's videos are not used" in note for note in parts.notes)
    store, examples = make(7, weak)
    parts = split_examples(examples, store, "toy")
    assert len(parts.val) == 2
    assert parts.val.pairs[0].weak


def tied(a: int, b: int, similarity: float, examples: Examples) -> dict[str, Any]:
    ids = {video.path: video.video_id for video in examples.videos}
    return {
        "a": {"video_id": ids[f"/films/{a}.mp4"]},
        "b": {"video_id": ids[f"/films/{b}.mp4"]},
        "similarity": similarity,
    }


def test_what_ties_a_large_part_of_all_videos_together_is_no_copy(make: Make) -> None:
    _, examples = make(12)
    chain = [tied(n, n + 1, 0.82, examples) for n in range(11)]
    true = [tied(0, 5, 0.97, examples), tied(3, 4, 0.93, examples)]
    assert credible(examples, true) == true
    assert credible(examples, [*chain[:4], *true]) == true  # 0 to 5 are six of twelve
    assert credible(examples, [*chain[:3], *true[:1]]) == [*chain[:3], *true[:1]]  # five may be
    assert credible(examples, [tied(0, n, 1.0, examples) for n in range(1, 12)]) == ()  # the title of a series
    _, few = make(12, named(*[None] * 9, source=["tape"] * 5 + [None] * 4))
    assert len(few.videos) == 9
    assert credible(few, [tied(0, 6, 0.8, few)]) == [tied(0, 6, 0.8, few)]  # tape and 6 are two sources


def test_the_notes_say_which_copies_are_not_believed(make: Make) -> None:
    store, examples = make(7, copies=[(0, n) for n in range(1, 7)])
    parts = split_examples(examples, store, "toy")
    assert "21 of 21 spans that look alike are not taken for copies" in parts.notes[0]
    assert parts.copies == ()
    assert len(sources(parts)[1]) == 2
