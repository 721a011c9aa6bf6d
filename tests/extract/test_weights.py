"""Weights: refused when they are not what they should be, said once when they come from a hub (a small one, on loopback)."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import video_models as models
from nightreel.extract.encoders.weights import fill, is_here, read_state, state_sha256
from nightreel.extract.errors import WeightsUnavailable

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "MCG-NJU/tiny"


def small() -> Any:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Linear(3, 2)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("wrap", ["plain", "state_dict", "module."])
def test_a_state_dict_is_found_in_what_people_save(tmp_path: Path, suffix: str, wrap: str) -> None:
    import safetensors.torch
    import torch

    state = {("module." if wrap == "module." else "") + name: value for name, value in small().state_dict().items()}
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if wrap == "state_dict" else state, path)
    found = read_state(path, "x")
    assert state_sha256(found) == state_sha256(small().state_dict())


def test_a_checkpoint_that_does_not_fit_is_told_key_by_key(tmp_path: Path) -> None:
    import torch

    state = {"weight": torch.zeros(2, 4), "scale": torch.zeros(1)}
    with pytest.raises(WeightsUnavailable) as caught:
        fill(small(), state, "c3d:/x.pt", "/x.pt")
    for words in (
        "1 missing: bias",
        "1 unexpected: scale",
        "1 of another shape: weight",
        "c3d:/x.pt",
        "correct the name",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize("content", ["code", "text", "nothing", "list"])
def test_what_holds_no_tensors_is_refused_and_never_run(tmp_path: Path, content: str) -> None:
    import torch

    path = tmp_path / "w.pt"
    if content == "code":
        torch.save({"weight": models.Bomb(tmp_path / "exploded")}, path)
    elif content == "list":
        torch.save([1, 2], path)
    else:
        path.write_bytes(b"hello" if content == "text" else b"")
    with pytest.raises(WeightsUnavailable, match="holds tensors only"):
        read_state(path, "c3d:/x.pt")
    assert not (tmp_path / "exploded").exists()


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=r"no checkpoint at .*nothing\.pt"):
        read_state(tmp_path / "nothing.pt", "c3d:/x.pt")


def test_what_is_here_is_known_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    url = "https://example.org/models/r3d-b3b3357e.pth"
    assert (is_here(None), is_here(url), is_here("a/b")) == (True, False, False)
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    (tmp_path / "torch/hub/checkpoints/r3d-b3b3357e.pth").touch()
    snapshot = tmp_path / "huggingface/hub/models--a--b/snapshots/abc"
    snapshot.mkdir(parents=True)
    assert (is_here(url), is_here("a/b")) == (True, False)  # a folder without weights is none
    (snapshot / "model.safetensors").touch()
    assert is_here("a/b")


class Hub(BaseHTTPRequestHandler):
    """As much of a model hub as one repository needs."""

    def __init__(self, folder: Path, asked: list[str], *args: Any) -> None:
        self._folder, self._asked = folder, asked
        super().__init__(*args)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self._asked.append(path)
        files = sorted(file.name for file in self._folder.iterdir())
        if path.startswith(f"/api/models/{REPOSITORY}"):
            sizes = [(name, (self._folder / name).stat().st_size) for name in files]
            tree = [{"type": "file", "path": name, "size": size, "oid": "0" * 40} for name, size in sizes]
            about = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            told = json.dumps(tree if "/tree/" in path else about).encode()
            self._send(told, body, {"Content-Type": "application/json"})
            return
        name = path.rpartition("/")[2]
        if f"/{REPOSITORY}/resolve/" in path and name in files:
            data = (self._folder / name).read_bytes()
            self._send(data, body, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT})
            return
        self.send_error(404)

    def _send(self, data: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """(address, paths asked for) of a hub with one small VideoMAE."""
    models.videomae(tmp_path / "repository")
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, tmp_path / "repository", asked))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def load_from(address: str, home: Path) -> subprocess.CompletedProcess[str]:
    code = (
        "import json; from nightreel.extract.encoders.registry import load_encoder; "
        f"print(json.dumps(load_encoder('videomae:{REPOSITORY}').fingerprint()))"
    )
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("HF_")}
    env |= {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


def test_a_download_says_its_licence_once_and_is_pinned_by_its_commit(
    tmp_path: Path, hub: tuple[str, list[str]]
) -> None:
    address, asked = hub
    first = load_from(address, tmp_path / "home")
    assert first.returncode == 0, first.stderr
    assert first.stderr.count(f"Downloading {REPOSITORY} from the hub, once.") == 1
    assert "CC BY-NC 4.0 (not for commercial use)" in first.stderr
    assert "%" in first.stderr  # progress
    fingerprint = json.loads(first.stdout)
    assert fingerprint["revision"] == COMMIT
    assert fingerprint["licence"] == "CC BY-NC 4.0 (not for commercial use)"
    assert not any(path.endswith(".bin") for path in asked)

    asked.clear()
    second = load_from(address, tmp_path / "home")
    assert (second.returncode, second.stderr, asked) == (0, "", [])  # what is here is used, and nobody asked
    assert json.loads(second.stdout) == fingerprint
