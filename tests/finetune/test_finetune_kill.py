"""kill -9 in the middle of training: the same command goes on to the same figures and the same weights, bit for bit."""

import itertools
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nightreel.extract.encoders.toy import COLOURS, ToyEncoder
from nightreel.finetune.training.plan import Plan
from nightreel.finetune.training.run_folder import read_metrics
from nightreel.finetune.tuning import finetune
from nightreel.finetune.wish import Wish

pytestmark = pytest.mark.usefixtures("one_thread")
EPOCHS = 4  # of three steps, in each of five folds and in the last training
# Says each step, so that whoever kills it knows where it is.
CODE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from test_finetune_kill import wish_for
from nightreel.finetune.tuning import finetune
finetune(Path(sys.argv[2]), wish_for(Path(sys.argv[3])), progress=lambda done, of, what: print(what, flush=True))
"""


def wish_for(captions: Path, kind: str = "lstm") -> Wish:
    plan = Plan(epochs=EPOCHS, batch=16, save_every_s=0.0)
    return Wish(captions, kind=kind, rate=0.03, footage=False, max_frames=4, plan=plan)


@pytest.fixture
def archive(make_archive: Callable[..., Any], tmp_path: Path) -> Path:
    """48 videos whose colours are turned, and `captions.csv`."""
    made = make_archive()
    said = [" ".join(words) for words in itertools.combinations(list(COLOURS)[:9], 2)] + list(COLOURS)
    vectors = np.roll(ToyEncoder().encode_text(said)[:, :3], 1, axis=1)
    for number, vector in enumerate(vectors):
        made.add(f"{number}.mp4", np.tile(np.append(vector, 0.3), (5, 1)))
    lines = ["video,caption", *(f"{number}.mp4,{caption}" for number, caption in enumerate(said))]
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    return Path(made.root)


def kill_in(archive: Path, captions: Path, words: str, steps: int) -> None:
    """Start training, and kill it some steps into the stage that says these words."""
    here = Path(__file__).parent
    command = [sys.executable, "-c", CODE, str(here), str(archive), str(captions)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            steps -= line.startswith(words)
            if not steps:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.read()
    assert process.returncode == -signal.SIGKILL


def test_killed_twice_it_ends_as_if_never_killed(archive: Path, tmp_path: Path) -> None:
    captions, whole = tmp_path / "captions.csv", tmp_path / "whole.reel"
    shutil.copytree(archive, whole)
    expected = finetune(whole, wish_for(captions))
    assert expected["kept"]

    kill_in(archive, captions, "part 2 of", 7)
    kill_in(archive, captions, "loss", 4)
    run = archive / "heads" / "lstm" / "run"
    assert (run / "checkpoint.pt").exists()
    assert not (archive / "heads" / "lstm" / "head.json").exists()
    notes: list[str] = []
    found = finetune(archive, wish_for(captions), say=notes.append)
    assert any("Going on with the unfinished run" in note for note in notes)

    for key in set(expected) - {"folder", "next"}:
        assert found[key] == expected[key], key
    head = Path("heads") / "lstm" / "head.safetensors"
    assert (archive / head).read_bytes() == (whole / head).read_bytes()
    assert read_metrics(run) == read_metrics(whole / "heads" / "lstm" / "run")
