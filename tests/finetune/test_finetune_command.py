"""`nightreel finetune` from captions to a head in use, on an archive whose colours have other names than elsewhere."""

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import nightreel
from nightreel.extract.encoders.toy import COLOURS, ToyEncoder
from nightreel.extract.heads.networks import make_head
from nightreel.extract.heads.stored import load_stored, names, read_made

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = [word for word in COLOURS if word not in ("gray", "grey", "black", "white")]
CAPTIONS = [" ".join(words) for words in itertools.combinations(WORDS, 3)]  # 120
FAST = ("--epochs", 8, "--lr", 0.05, "--batch", 32, "--skip-copies")


def fill(archive: Any, folder: Path, turn: int, shuffled: bool = False) -> Path:
    """A video per caption whose red, green and blue are turned by so many places; the file of the captions."""
    vectors = ToyEncoder().encode_text(CAPTIONS)
    turned = np.concatenate([np.roll(vectors[:, :3], turn, axis=1), vectors[:, 3:]], axis=1)
    draw = np.random.default_rng(3)
    for number, vector in enumerate(turned):
        frames = vector + 0.02 * draw.standard_normal((4, 4))
        archive.add(f"{number}.mp4", frames)
    said = list(np.random.default_rng(5).permutation(CAPTIONS)) if shuffled else CAPTIONS
    path = folder / "captions.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("video", "caption"), *((f"{i}.mp4", caption) for i, caption in enumerate(said))])
    return path


@pytest.fixture
def turned(make_archive: Callable[..., Any], tmp_path: Path) -> tuple[Any, Path]:
    """The archive and its captions: what looks green is called red, and so on."""
    archive = make_archive()
    return archive, fill(archive, tmp_path, 1)


def test_learns_the_words_and_puts_them_to_use(turned: tuple[Any, Path], tmp_path: Path) -> None:
    archive, captions = turned
    with captions.open("a") as file:
        file.write("nowhere.mp4,red\n3.mp4,\n")
    result = nightreel("finetune", archive.root, "--pairs", captions, *FAST, "--json").json
    assert set(result) == {
        *("name", "kind", "train", "pairs", "bad_rows", "epochs", "best_epoch", "before", "after", "interval", "kept"),
        *("folder", "next", "asked"),
    }
    assert result["after"]["R@1"] > result["before"]["R@1"] + 30
    assert result["kept"]
    assert result["interval"][0] > 0
    assert result["pairs"] == {"train": len(CAPTIONS), "val": len(CAPTIONS), "folds": 5}
    assert [row["reason"] for row in result["bad_rows"]] == ["no caption", "nowhere.mp4: no such file"]
    assert result["bad_rows"][0]["line"] == "captions.csv, line 123"
    assert read_made(archive.store, "adapter").trained["after"] == result["after"]

    run = Path(result["folder"]) / "run"
    assert not (run / "checkpoint.pt").exists()
    assert {path.name for path in run.iterdir()} >= {"config.json", "metrics.jsonl", "curves.png", "result.json"}
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert sum("loss" in step for step in steps) == 4 * (result["best_epoch"] - 1)
    assert [step["epoch"] for step in steps if "R@1" in step] == list(range(9))

    code, _, err = nightreel(*result["next"].split()[1:])
    assert code == 0, err
    found = nightreel("search", archive.root, "red yellow orange", "--by", "video", "--top", 1, "--json").json
    assert found["encoder"] == "head:adapter"
    first = CAPTIONS[int(Path(found["results"][0]["path"]).stem)].split()
    assert len({"red", "yellow", "orange"} & set(first)) >= 2

    again = nightreel("finetune", archive.root, "--pairs", captions, *FAST)
    assert again.code == 2
    assert "has a head 'adapter' already" in again.err
    assert "--name" in again.err


def test_no_gain_leaves_the_archive_as_it_was(make_archive: Callable[..., Any], tmp_path: Path) -> None:
    archive = make_archive()
    captions = fill(archive, tmp_path, 0, shuffled=True)
    done = nightreel("finetune", archive.root, "--pairs", captions, *FAST, "--name", "vain", "--json")
    assert done.code == 0
    assert done.json["kept"] is False
    assert done.json["next"] == ""
    assert names(archive.store) == []
    assert nightreel("index", archive.root, "--head", "vain").code == 2
    # Tried again with other settings under the same name: nothing is in the way.
    told = nightreel("finetune", archive.root, "--pairs", captions, "--epochs", 2, "--skip-copies", "--name", "vain")
    assert told.code == 0
    assert "NOT KEPT" in told.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "--pairs FILE"),
        (("--head", "gru"), "expected one of mean, lstm, transformer, wti"),
        (("--train", "everything"), "expected one of head, adapter, lora, all"),
        (("--train", "adapter", "--head", "lstm"), "expected --train head, or --head mean"),
        (("--train", "lora", "--with", "videomae"), "clips join stored features"),
        (("--epochs", 0), "--epochs 0: expected 1 or more"),
        (("--batch", 1), "--batch 1: expected 2 or more"),
        (("--lr", -1), "expected a number above 0"),
        (("--with", "toy"), "expected an encoder of clips"),
        (("--name", "../up"), "expected a name of letters"),
        (("--subtitles",), "no .srt or .vtt file"),
        (("--train", "lora"), "open_clip"),
        (("--from-clip4clip", "m.bin"), "--from-clip4clip takes towers and a head as they are"),
    ],
)
def test_what_does_not_fit_is_said(colours: Any, tmp_path: Path, words: tuple[object, ...], told: str) -> None:
    captions = tmp_path / "c.csv"
    captions.write_text("video,caption\nred.mp4,red\ngreen.mp4,green\nmixed.mp4,blue\n")
    alone = not words or words == ("--subtitles",)
    code, out, err = nightreel("finetune", colours.root, *(() if alone else ("--pairs", captions)), *words)
    assert code == 2, err
    assert told in err
    assert not out
    assert names(colours.store) == []


def test_an_encoder_without_text_is_told(make_archive: Callable[..., Any], tmp_path: Path) -> None:
    archive = make_archive(has_text=False)
    archive.add("red.mp4", ["red"] * 4)
    (tmp_path / "c.csv").write_text("video,caption\nred.mp4,red\n")
    code, _, err = nightreel("finetune", archive.root, "--pairs", tmp_path / "c.csv")
    assert code == 2
    assert "no sentences to compare with" in err


def test_clip4clips_own_head_is_taken_in(colours: Any, tmp_path: Path) -> None:
    head = make_head("transformer", 4, max_frames=6, layers=1, heads=1)
    state = {name: value for name, value in head.state_dict().items() if name != "logit_scale"}
    torch.save({**state, "clip.logit_scale": torch.tensor(4.0)}, tmp_path / "pytorch_model.bin")
    words = ("--from-clip4clip", tmp_path / "pytorch_model.bin", "--head", "transformer", "--json")
    result = nightreel("finetune", colours.root, *words).json
    assert result["name"] == "clip4clip-transformer"
    tuned, made = load_stored(colours.store, "clip4clip-transformer")
    assert (made.context, made.base, tuned.head.kind) == (6, "toy", "transformer")
    for name, value in state.items():
        assert torch.equal(tuned.head.state_dict()[name], value)
    assert nightreel(*result["next"].split()[1:]).code == 0

    wider = make_head("lstm", 8)
    torch.save(wider.state_dict(), tmp_path / "wide.bin")
    code, _, err = nightreel("finetune", colours.root, "--from-clip4clip", tmp_path / "wide.bin", "--head", "lstm")
    assert code == 2
    assert "features of 8 numbers, those of toy have 4" in err
