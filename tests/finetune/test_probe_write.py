"""Predictions as columns: given labels stay, other columns stay, one commit, and `--where` finds them."""

from dataclasses import replace

import numpy as np
import pytest
from archives import MadeArchive, MakeArchive
from nightreel.extract.errors import Refused, UsageError
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer
from nightreel.finetune.probing.write import Prediction, check_column, columns_of, write_column
from nightreel.search.where import Scan


def rows_of(archive: MadeArchive) -> dict[str, VideoRow]:
    archive.store.refresh()
    return {row.path.rsplit("/", 1)[1]: row for row in archive.store.videos()}


def said(archive: MadeArchive, **labels: str) -> list[Prediction]:
    rows = rows_of(archive)
    return [
        Prediction(rows[f"{name}.mp4"].video_id, rows[f"{name}.mp4"].path, label, 0.87654321)
        for name, label in labels.items()
    ]


def test_columns_stand_beside_everything_else(colours: MadeArchive) -> None:
    before = rows_of(colours)
    row = before["red.mp4"]
    writer = Writer(colours.store)
    writer.add(replace(row, metadata={"tape": 12, "action_note": "x"}), {})
    writer.commit()
    before, commits = rows_of(colours), len(colours.store.commits)
    wrote = write_column(
        colours.store, "action", said(colours, red="run", green="run"), {row.video_id: "swim"}, by="probe:p"
    )
    assert wrote == {"column": "action", "given": 1, "predicted": 1, "changed": 2}
    assert len(colours.store.commits) == commits + 1
    after = rows_of(colours)
    assert dict(after["red.mp4"].metadata) == {
        "tape": 12,
        "action_note": "x",
        "action": "swim",
        "action_probability": 1.0,
        "action_by": "label",
    }
    assert dict(after["green.mp4"].metadata) == {"action": "run", "action_probability": 0.8765, "action_by": "probe:p"}
    assert after["mixed.mp4"] == before["mixed.mp4"]  # nothing was said of it
    for name in before:
        assert replace(after[name], metadata={}) == replace(before[name], metadata={})
    assert colours.store.segment_count("toy") == 15


def test_where_finds_them(colours: MadeArchive) -> None:
    write_column(colours.store, "action", said(colours, red="run", green="swim"), {}, by="probe:p")
    green = rows_of(colours)["green.mp4"].video_id
    found = [v for batch in Scan(colours.store, "toy", "action = 'swim'").passing() for v in batch.video_id]
    assert found == [green] * 5
    assert len(Scan(colours.store, "toy", "action_probability > 0.9").ids()) == 0
    assert len(Scan(colours.store, "toy", "action IS NULL").ids()) == 6


def test_saying_the_same_again_writes_nothing(colours: MadeArchive) -> None:
    predictions = said(colours, red="run", mixed="swim")
    write_column(colours.store, "action", predictions, {}, by="probe:p")
    commits = len(colours.store.commits)
    assert write_column(colours.store, "action", predictions, None, by="probe:p")["changed"] == 0
    assert len(colours.store.commits) == commits


def test_given_labels_outlive_later_predictions_but_not_later_labels(colours: MadeArchive) -> None:
    red = rows_of(colours)["red.mp4"].video_id
    write_column(colours.store, "action", said(colours, red="run"), {red: "swim"}, by="probe:p")
    wrote = write_column(colours.store, "action", said(colours, red="run", green="run"), None, by="probe:q")
    assert (wrote["given"], wrote["predicted"]) == (1, 1)
    assert rows_of(colours)["red.mp4"].metadata["action"] == "swim"
    write_column(colours.store, "action", said(colours, red="run"), {}, by="probe:q")  # no longer labelled
    assert rows_of(colours)["red.mp4"].metadata["action_by"] == "probe:q"


def test_the_owners_own_column_is_not_replaced(colours: MadeArchive) -> None:
    writer = Writer(colours.store)
    writer.add(replace(rows_of(colours)["red.mp4"], metadata={"action": "mine"}), {})
    writer.commit()
    with pytest.raises(Refused, match=r"red\.mp4: 'mine'"):
        write_column(colours.store, "action", said(colours, green="run"), {}, by="probe:p")
    assert "action" not in rows_of(colours)["green.mp4"].metadata


@pytest.mark.parametrize(
    "column", ["path", "Duration_S", "start_s", "labels", "", "a b", "1a", 'a"b', "é" * 3, "a" * 70]
)
def test_names_that_are_taken_or_none(colours: MadeArchive, column: str) -> None:
    with pytest.raises(UsageError, match="--write"):
        check_column(colours.store, column)


def test_a_column_of_an_encoders_segments_is_taken(make_archive: MakeArchive) -> None:
    archive = make_archive(columns=["motion_px"])
    archive.add("a.mp4", np.ones((2, 4)), quality={"motion_px": [1, 2]})
    with pytest.raises(UsageError, match="'motion_px' is one of the archive's own"):
        check_column(archive.store, "motion_px")
    check_column(archive.store, "action")
    assert columns_of("action") == ("action", "action_probability", "action_by")
