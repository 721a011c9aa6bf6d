"""`index --head`: from then on `search`, `ground` and `evaluate` ask the head, and can be asked not to."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command import nightreel
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.extract.heads.networks import make_head
from nightreel.extract.heads.stored import save_head
from nightreel.extract.heads.tuned import Adapter, Tuned


@pytest.fixture
def swapped(colours: Any) -> Any:
    """The archive of `colours` with a head `swap`, to which "red" is what looks blue and the other way round."""
    red, blue = torch.from_numpy(ToyEncoder().encode_text(["red", "blue"]))
    tuned = Tuned(make_head("mean", len(red)), Adapter(len(red)))
    normal = (red - blue) / (red - blue).norm()  # the reflection that swaps them
    tuned.adapter.text.weight.data -= 2 * normal[:, None] @ normal[None]
    save_head(colours.store, "swap", tuned, base="toy", context=4)
    return colours


def best(archive: Any, *more: str) -> str:
    code, out, err = nightreel("search", archive.root, "red", "--json", *more)
    assert code == 0, err
    result = json.loads(out)
    return f"{Path(result['results'][0]['path']).name} {result['encoder']}"


def test_search_and_ground_use_a_head_by_themselves(swapped: Any) -> None:
    assert nightreel("index", swapped.root)[0] == 0
    assert best(swapped) == "red.mp4 toy"
    code, out, err = nightreel("index", swapped.root, "--head", "swap", "--json")
    assert code == 0, err
    assert json.loads(out)["name"] == "head-swap"
    assert best(swapped) == "mixed.mp4 head:swap"
    for named in ("toy", "head:swap", "head-swap"):
        assert best(swapped, "--encoder", named).endswith("head:swap" if "swap" in named else "toy")
    grounded = nightreel("ground", swapped.root, "red", "--video", "mixed.mp4", "--json").json
    assert [(m["start_s"], m["end_s"]) for m in grounded["moments"][:2]] in ([(0, 2), (4, 6)], [(4, 6), (0, 2)])

    info = nightreel("info", swapped.root, "--json").json
    assert info["heads_in_use"] == {"toy": "swap"}
    assert info["encoders"]["head-swap"]["head"]["base"] == "toy"
    assert "; head swap over toy, in use" in nightreel("info", swapped.root).out

    like = nightreel("search", swapped.root, "--like", "red.mp4@0-2", "--json").json
    assert like["encoder"] == "toy"  # footage is compared in the encoder's own features

    assert nightreel("index", swapped.root, "--head", "none")[0] == 0
    assert best(swapped) == "red.mp4 toy"
    assert best(swapped, "--encoder", "head:swap") == "mixed.mp4 head:swap"
    assert "not in use" in nightreel("info", swapped.root).out


def test_evaluate_uses_it_too(swapped: Any, tmp_path: Path) -> None:
    csv = tmp_path / "msrvtt.csv"
    csv.write_text(
        "key,vid_key,video_id,sentence\nret0,msr0,red,a red wall\nret1,msr1,mixed,blue\nret2,msr2,green,green\n"
    )
    words = ("evaluate", "retrieval", "--dataset", "msrvtt", "--annotations", csv, "--archive", swapped.root, "--json")
    nightreel("index", swapped.root)
    assert nightreel(*words).json["text_to_video"]["R@1"] == 100.0
    nightreel("index", swapped.root, "--head", "swap")
    after = nightreel(*words).json
    assert (after["encoder"], round(after["text_to_video"]["R@1"], 1)) == ("head:swap", 33.3)


def test_the_nightly_index_keeps_a_heads_features_up_to_date(swapped: Any) -> None:
    nightreel("index", swapped.root, "--head", "swap")
    swapped.add("sky.mp4", ["blue"] * 9)
    stale = nightreel("search", swapped.root, "red")
    assert "1 of 4 videos are newer" in stale.err
    indexes = nightreel("info", swapped.root, "--json").json["indexes"]
    assert indexes["head-swap"]["missing_videos"] == 1
    assert nightreel("index", swapped.root)[0] == 0
    assert "sky.mp4" in nightreel("search", swapped.root, "red").out
    assert nightreel("info", swapped.root, "--json").json["indexes"]["head-swap"]["missing_videos"] == 0
    assert nightreel("verify", swapped.root)[0] == 0


def test_a_long_video_and_columns_of_that_name(swapped: Any) -> None:
    swapped.add("long.mp4", ["red", "blue"] * 200, metadata={"weight": 80.0})  # more than what is sampled for chance
    assert nightreel("index", swapped.root, "--head", "swap")[0] == 0
    assert nightreel("search", swapped.root, "red", "--where", "weight > 50", "--json").json["results"]


def test_a_head_whose_index_cannot_be_made_is_not_in_use(swapped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nightreel("index", swapped.root)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("nightreel.index.build.write_part", full)
        assert nightreel("index", swapped.root, "--head", "swap")[0] != 0
    assert best(swapped) == "red.mp4 toy"
    assert nightreel("index", swapped.root, "--head", "swap")[0] == 0
    assert best(swapped) == "mixed.mp4 head:swap"


def test_what_cannot_be_is_said(swapped: Any) -> None:
    code, _, err = nightreel("index", swapped.root, "--head", "other")
    assert code == 2
    assert "has no head 'other'; it has: swap" in err
    code, _, err = nightreel("index", swapped.root, "--head", "swap", "--encoder", "toy")
    assert code == 2
    assert "leave --encoder out" in err


def test_a_lost_head_stops_nothing_else(swapped: Any) -> None:
    nightreel("index", swapped.root, "--head", "swap")
    shutil.rmtree(swapped.root / "heads" / "swap")
    swapped.add("sky.mp4", ["blue"] * 9)
    assert nightreel("index", swapped.root, "--head", "none")[0] == 0
    assert best(swapped) == "red.mp4 toy"
    assert nightreel("index", swapped.root, "--encoder", "head:swap")[0] == 2


def test_ground_says_that_a_video_is_newer_than_the_head(swapped: Any) -> None:
    nightreel("index", swapped.root, "--head", "swap")
    swapped.add("sky.mp4", ["blue"] * 9)
    code, _, err = nightreel("ground", swapped.root, "red", "--video", "sky.mp4")
    assert (code, "newer than what the head" in err, "nightreel index" in err) == (2, True, True)
