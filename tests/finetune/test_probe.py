"""From labels to figures, a saved probe and columns: on an archive whose classes are known because we made them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archives import MadeArchive, MakeArchive, segments_for, toy_fingerprint
from nightreel.evaluate.records import Labelled
from nightreel.evaluate.splits import Leak
from nightreel.extract.errors import Refused, UsageError
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer, claim_encoder
from nightreel.finetune.probing.features import pooled
from nightreel.finetune.probing.labels import Example, LabelFile
from nightreel.finetune.probing.probe import Settings, apply_probe, probe
from nightreel.search.where import Scan

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = ("run", "swim", "jump")
LabelledArchive = tuple[MadeArchive, LabelFile]


@pytest.fixture
def sports(make_archive: MakeArchive) -> LabelledArchive:
    """60 videos of 3 classes in D = 64, each a source of its own, and 6 without labels called `new0` to `new5`."""
    rng, archive = np.random.default_rng(0), make_archive(dim=64)
    means = 0.4 * rng.normal(size=(3, 64))
    examples = []
    writer = Writer(archive.store)
    for i in range(66):
        name = f"video{i}" if i < 60 else f"new{i - 60}"
        frames = means[i % 3] + rng.normal(size=64) + 0.5 * rng.normal(size=(5, 64))
        writer.add(VideoRow(f"id{i}", f"/films/{name}.mp4", "done"), {"toy": segments_for(f"id{i}", frames)})
        if i < 60:
            examples.append(Example(Labelled(f"{name}.mp4", CLASSES[i % 3])))
    writer.commit()
    return archive, LabelFile(tuple(examples), ())


def test_figures_of_classes_that_can_be_told_apart(sports: LabelledArchive) -> None:
    archive, read = sports
    result = probe(archive.store, read)
    assert result["encoders"] == ["toy"]
    assert result["labelled"] == {"examples": 60, "videos": 60, "sources": 60, "classes": 3}
    train, test = result["parts"]["train"], result["parts"]["test"]
    assert train["examples"] + test["examples"] == 60
    assert result["metrics"]["top-1"] > 75
    assert "top-5" not in result["metrics"]  # of 3 classes it says nothing
    low, high = result["intervals"]["top-1"]
    assert low <= result["metrics"]["top-1"] <= high
    assert result["baselines"]["chance"] == pytest.approx(100 / 3)
    assert result["baselines"]["majority"]["top-1"] < 60
    assert result["chosen"] in [row["method"] for row in result["methods"]]
    held = {row["method"]: row["held_out"]["top-1"] for row in result["methods"]}
    assert held[result["chosen"]] == max(held.values())
    assert result["gain"] is None
    assert any("30" not in note and "sources" in note for note in result["notes"])


def test_labels_that_mean_nothing_are_at_chance(sports: LabelledArchive) -> None:
    archive, read = sports
    rng = np.random.default_rng(1)
    mixed = [Example(Labelled(one.record.video, CLASSES[rng.integers(3)])) for one in read.examples]
    result = probe(archive.store, LabelFile(tuple(mixed), ()), Settings(test_share=0.5))
    low, high = result["intervals"]["top-1"]
    assert low < 100 / 3 < high + 15
    assert result["metrics"]["top-1"] < 65


def test_the_saved_probe_says_what_was_measured(sports: LabelledArchive) -> None:
    archive, read = sports
    result = probe(archive.store, read, Settings(name="sport"))
    facts, said = apply_probe(archive.store, "sport")
    assert facts["method"] == result["chosen"]
    assert [one.path for one in said] == [row.path for row in archive.store.videos()]
    at = {one.path: one for one in said}
    right = [at[f"/films/{one.record.video}"].label == one.record.label for one in read.examples]
    assert np.mean(right) > 0.75
    assert all(1 / 3 <= one.probability <= 1 for one in said)
    counts = {row["label"]: row["videos"] for row in result["classes"]}
    assert sum(counts.values()) == result["parts"]["test"]["examples"]


def test_predictions_become_columns_and_later_videos_get_theirs(sports: LabelledArchive) -> None:
    archive, read = sports
    wrote = probe(archive.store, read, Settings(write="action"))["wrote"]
    assert (wrote["given"], wrote["predicted"]) == (60, 6)
    ids = [v for batch in Scan(archive.store, "toy", "action = 'swim'").passing() for v in batch.video_id]
    given = {f"id{i}" for i in range(60) if i % 3 == 1}
    assert given <= set(ids)
    frames = archive.store.segments_of("toy", "id1").embedding.astype(np.float32)
    archive.add("later.mp4", frames, video_id="later")
    assert "action" not in archive.store.find_video("later").metadata
    facts, _ = apply_probe(archive.store, "probe", "action")
    assert (facts["wrote"]["given"], facts["wrote"]["predicted"], facts["wrote"]["changed"]) == (60, 7, 1)
    later = archive.store.find_video("later").metadata
    assert (later["action"], later["action_by"]) == ("swim", "probe:probe")


def test_two_encoders_are_fused(sports: LabelledArchive) -> None:
    archive, read = sports
    claim_encoder(archive.store, "other", toy_fingerprint(dim=3, spec="other"))
    rng, writer = np.random.default_rng(2), Writer(archive.store)
    for row in archive.store.videos():
        if row.video_id != "id0":
            writer.add(row, {"other": segments_for(row.video_id, rng.normal(size=(2, 3)))})
    writer.commit()
    both = Settings(("toy", "other"), write="action")
    with pytest.raises(Refused, match=r"video0\.mp4: no features of other"):
        probe(archive.store, read, both)
    result = probe(archive.store, read, Settings(("toy", "other"), write="action", allow_missing=True))
    assert result["labelled"]["examples"] == 59
    assert [row.split(":")[0] for row in result["bad_rows"]] == ["video0.mp4"]
    assert len(result["methods"]) == 7
    gain = result["gain"]
    assert gain["method"].split(":")[0] in ("average", "weighted", "joined")
    assert gain["over"].startswith(("linear:", "k-NN:"))
    assert gain["interval"][0] <= gain["top-1"] <= gain["interval"][1]
    assert "action" not in archive.store.find_video("id0").metadata  # one encoder alone has it
    with pytest.raises(UsageError, match="one, or two different ones"):
        probe(archive.store, read, Settings(("toy", "toy")))


def test_spans_are_pooled_by_themselves(make_archive: MakeArchive) -> None:
    archive = make_archive()
    archive.add("a.mp4", ["red", "red", "blue", "blue"], video_id="a")
    got, empty = pooled(archive.store, "toy", [("a", None), ("a", (0.0, 2.0)), ("a", (1.5, 2.5)), ("a", (9.0, 10.0))])
    assert empty.tolist() == [False, False, False, True]
    red, blue = (archive.store.segments_of("toy", "a").embedding[i].astype(np.float64) for i in (0, 2))
    np.testing.assert_allclose(got[1], red, atol=1e-3)
    half = (red + blue) / 2 / np.linalg.norm((red + blue) / 2)
    np.testing.assert_allclose(got[[0, 2]], [half, half], atol=1e-3)
    with pytest.raises(UsageError, match="no features 'clip'"):
        pooled(archive.store, "clip", [("a", None)])


def test_labels_of_spans(make_archive: MakeArchive) -> None:
    archive, rng = make_archive(), np.random.default_rng(0)
    examples = []
    for i in range(25):
        first, second = rng.permutation(["red", "blue"])
        archive.add(f"v{i}.mp4", [first] * 3 + [second] * 3)
        examples += [Example(Labelled(f"v{i}", name), span) for name, span in ((first, (0, 3)), (second, (3, 6)))]
    examples.append(Example(Labelled("v0", "red"), (100, 101)))
    result = probe(archive.store, LabelFile(tuple(examples), ()), Settings(threshold=None, write="colour"))
    assert result["metrics"]["top-1"] == 100
    assert result["labelled"]["examples"] == 50
    assert result["bad_rows"] == ["v0 [100, 101) s: the archive has no footage there (toy)"]
    assert (result["wrote"]["given"], result["wrote"]["predicted"]) == (0, 25)
    assert any("All labels are of spans" in note for note in result["notes"])


def test_one_video_under_two_names_counts_once(sports: LabelledArchive) -> None:
    archive, read = sports
    again = (*read.examples, Example(Labelled("/films/video3.mp4", "run")), Example(Labelled("id4", "jump")))
    result = probe(archive.store, LabelFile(again, ()))
    assert result["labelled"]["examples"] == 60
    assert ["same label" in row or "stands above as 'swim'" in row for row in result["bad_rows"]] == [True, True]


def test_given_splits_that_leak_stop_before_anything_is_written(sports: LabelledArchive) -> None:
    archive, _ = sports
    frames = archive.store.segments_of("toy", "id0").embedding.astype(np.float32)
    archive.add("copy.mp4", frames, video_id="copy")
    split = ["train"] * 40 + ["test"] * 20
    examples = [Example(Labelled(f"video{i}", CLASSES[i % 3], split[i])) for i in range(60)]
    leaking = (*examples, Example(Labelled("copy", "run", "test")))
    with pytest.raises(Leak, match="the same footage"):
        probe(archive.store, LabelFile(leaking, ()))
    assert not (archive.root / "probes").exists()
    result = probe(archive.store, LabelFile(tuple(examples), ()))
    assert result["parts"]["given"]
    assert result["parts"]["test"]["examples"] == 20


def test_a_class_that_only_test_has_is_wrong_and_said_so(sports: LabelledArchive) -> None:
    archive, _ = sports
    names = [CLASSES[i % 3] if i < 50 else "dive" for i in range(60)]
    split = ["train"] * 40 + ["test"] * 20
    examples = tuple(Example(Labelled(f"video{i}", names[i], split[i])) for i in range(60))
    result = probe(archive.store, LabelFile(examples, ()), Settings(threshold=None))
    assert {row["label"]: row["top-1"] for row in result["classes"]}["dive"] == 0
    assert any("no example of 'dive'" in note for note in result["notes"])
    assert result["baselines"]["chance"] == pytest.approx(100 / 3)


Change = Callable[[Settings], Settings]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(test_share=1.0), "--test-share"),
        (Settings(name="../x"), "expected a name"),
        (Settings(write="path"), "own columns"),
        (Settings(plot=Path("c.bmp")), "expected .png"),
        (Settings(("nothing",)), "no family or alias 'nothing'"),
        (Settings(test_share=0.999), "train got none|two classes or more|one source"),
    ],
)
def test_what_cannot_work_is_said(sports: LabelledArchive, settings: Settings, said: str) -> None:
    archive, read = sports
    with pytest.raises((UsageError, Refused), match=said):
        probe(archive.store, read, settings)


def test_one_class_only(sports: LabelledArchive) -> None:
    archive, read = sports
    only = tuple(Example(Labelled(one.record.video, "run")) for one in read.examples)
    with pytest.raises(UsageError, match="all 'run'; expected two classes"):
        probe(archive.store, LabelFile(only, ()))
