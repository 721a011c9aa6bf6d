"""`nightreel finetune --train lora` from films to an encoder; what trains inside is tested in `test_frames_task.py`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import nightreel
from nightreel.demo.films import write_video
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.run import Settings, extract
from nightreel.finetune.training.gain import Gain

pytestmark = pytest.mark.usefixtures("one_thread")
CAPTIONS = ("a dog runs", "two cars", "rain at night", "a red door", "people dance", "snow")


def test_lora_ends_in_towers_that_extract_takes(
    tmp_path: Path, write_towers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    archive, lines = tmp_path / "a.reel", ["video,caption,split"]
    spec = write_towers(tmp_path / "tiny")
    (tmp_path / "films").mkdir()
    for number, caption in enumerate(CAPTIONS):
        look = np.random.default_rng(number).integers(0, 256, (2, 2, 3))
        frame = np.kron(look, np.ones((32, 32, 1))).astype(np.uint8)
        write_video(tmp_path / "films" / f"{number}.mp4", (frame for _ in range(8)), 4)
        lines.append(f"{number}.mp4,{caption},{'val' if number > 3 else 'train'}")
    extract([str(tmp_path / "films")], archive, [spec], Settings(workers=1))
    (tmp_path / "c.csv").write_text("\n".join(lines))
    words = ("finetune", archive, "--pairs", tmp_path / "c.csv", "--train", "lora", "--epochs", 1, "--skip-copies")

    plain = nightreel(*words, "--name", "vain", "--json").json
    assert plain["pairs"] == {"train": 4, "val": 2}
    assert not plain["kept"]
    assert not list((archive / "heads" / "vain").glob("open_clip*"))

    # Two captions show no gain beyond chance; here it is what is done with one that counts.
    monkeypatch.setattr("nightreel.finetune.tuning.gain", lambda before, after: Gain(50.0, 10.0, 90.0, True))
    monkeypatch.setattr("nightreel.finetune.training.task.Validation.better_than", lambda self, other: True)
    kept = nightreel(*words, "--json").json
    assert kept["kept"]
    assert kept["next"].startswith("nightreel extract VIDEOS --archive NEW.reel --encoder openclip:")
    encoder = load_encoder(kept["next"].split()[-1])
    assert encoder.dim == 24
    again = nightreel(*words)
    assert again.code == 2
    assert "holds trained towers already" in again.err
