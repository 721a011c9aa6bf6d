"""What `nightreel info` and `nightreel failures` tell."""

from typing import Any

import pytest
from nightreel.extract.errors import Damaged
from nightreel.extract.store import Store
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer
from nightreel.index.build import build_index
from nightreel.index.info import failures, summary


def test_summary_counts_what_is_visible_and_failures_what_is_not_done(colours: Any) -> None:
    colours.add("red.mp4", ["red"] * 2)
    bad = Writer(colours.store)
    bad.add(VideoRow("00", "/films/bad.mp4", "failed", stage="open", error_kind="unreadable", error="no"), {})
    bad.commit()
    found = summary(colours.store)
    assert (found["videos"], found["status"], found["commits"]) == (4, {"done": 3, "failed": 1}, 5)
    assert found["encoders"]["toy"]["segments"] == 2 + 6 + 5
    assert found["encoders"]["toy"]["videos"] == 3
    assert found["video_s"] == 13.0
    assert [row["path"] for row in failures(colours.store)] == ["/films/bad.mp4"]


def test_an_index_is_told_with_what_it_lacks_and_hides(colours: Any) -> None:
    build_index(colours.store, "toy")
    (told,) = summary(colours.store)["indexes"].values()
    assert (told["kind"], told["vectors"], told["parts"], told["probes"]) == ("Flat", 15, 1, "footage")
    assert told["levels"] == {"segment": 15, "4s": 5, "16s": 3, "video": 3}
    assert (told["stale"], told["missing_videos"], told["hidden"], told["left_out"]) == (False, 0, 0, 0)
    colours.add("new.mp4", ["white"] * 2)
    colours.add("mixed.mp4", ["yellow"] * 9)  # replaced
    colours.remove(colours.store.find_video("red.mp4").video_id)
    (told,) = summary(Store.open(colours.root))["indexes"].values()
    assert (told["stale"], told["missing_videos"], told["hidden"]) == (True, 2, 4 + 6)
    build_index(colours.store, "toy")
    (told,) = summary(Store.open(colours.root))["indexes"].values()
    assert (told["stale"], told["missing_videos"], told["hidden"], told["vectors"]) == (False, 0, 0, 5 + 2 + 9)


def test_only_a_removal_makes_nothing_stale(colours: Any) -> None:
    build_index(colours.store, "toy")
    colours.remove(colours.store.find_video("red.mp4").video_id)
    (told,) = summary(colours.store)["indexes"].values()
    assert (told["stale"], told["hidden"]) == (False, 4)


def test_a_damaged_table_is_told_as_damage(colours: Any) -> None:
    build_index(colours.store, "toy")
    (table,) = (colours.root / "index" / "toy").glob("*.videos.parquet")
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(Damaged, match="nightreel index"):
        summary(colours.store)
