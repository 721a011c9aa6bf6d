"""Weights: where they lie, how they come, whether they are what they should be. Knows no encoder.

Nothing is read that could run code: safetensors, or torch files with tensors only. What is downloaded is said once, with its
licence; what is here is used without asking anybody, so it does not change by itself. `nightreel` logs on stderr.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsUnavailable
from . import hub

if TYPE_CHECKING:
    import torch

CHECKPOINTS = (".pt", ".pth", ".bin", ".safetensors")
SAFE, UNSAFE = "*.safetensors", "pytorch_model*.bin"  # the latter is read with tensors only too
RANDOM = "random"
LOG = logging.getLogger("nightreel")

State = dict[str, Any]


def state_sha256(state: "Mapping[str, torch.Tensor]") -> str:
    """One hash over names, shapes, types and bytes of a state dict; the file's format does not matter."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # Through uint8, because numpy has no bfloat16.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_state(path: Path, spec: str) -> State:
    """Tensors by name, out of a file; those of a checkpoint that holds more are found, and `module.` is taken off.

    Raises:
        WeightsUnavailable: no such file, or it holds anything but tensors.
    """
    import safetensors.torch
    import torch

    if not path.is_file():
        raise WeightsUnavailable(
            f"encoder {spec!r}: no checkpoint at {path}. Expected a file {', '.join(CHECKPOINTS)}; correct the path."
        )
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.torch.load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("state_dict", "model"):
            if isinstance(found, dict) and isinstance(found.get(key), dict):
                found = found[key]
        if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
            raise ValueError("it is not a state dict")
    except Exception as error:  # a hostile or broken file makes torch raise anything
        raise WeightsUnavailable(
            f"encoder {spec!r}: {path} is not a checkpoint that holds tensors only: {one_line(error)}. "
            "It may be cut off, or hold code, which is never run. Download it again or give a .safetensors."
        ) from error
    return {name.removeprefix("module."): value for name, value in found.items()}


def fill(network: "torch.nn.Module", state: State, spec: str, source: object) -> None:
    """Give a network its weights, all of them and no others; raises as `require_fit`."""
    require_fit(network, state, spec, source)
    network.load_state_dict(state)


def require_fit(network: "torch.nn.Module", state: State, spec: str, source: object) -> None:
    """Refuse weights that are not all of a network's and no others; it may be on the device `meta`, and take no memory.

    Raises:
        WeightsUnavailable: with the missing, unexpected and misshapen entries.
    """
    own = network.state_dict()
    shapes = [name for name in own if name in state and own[name].shape != state[name].shape]
    require_keys(spec, source, missing=set(own) - set(state), unexpected=set(state) - set(own), misshapen=shapes)


def require_keys(
    spec: str, source: object, *, missing: Iterable[str], unexpected: Iterable[str], misshapen: Iterable[str] = ()
) -> None:
    """Refuse a checkpoint that is not the one of its architecture.

    Raises:
        WeightsUnavailable: any of the three names something.
    """
    found = {"missing": sorted(missing), "unexpected": sorted(unexpected), "of another shape": sorted(misshapen)}
    if any(found.values()):
        told = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in found.items() if names)
        raise WeightsUnavailable(
            f"encoder {spec!r}: the checkpoint {source} does not fit this architecture: {told}. "
            "Expected the weights of that very model; correct the name, the path or the file."
        )


def from_hub(repository: str, revision: str | None, files: Iterable[str], spec: str, licence: str) -> Path:
    """The folder of a model repository on this machine, downloaded (with progress) where it is not.

    Args:
        revision: a commit, tag or branch; None for what is here, or the newest.
        files: names or patterns, besides the weights: safetensors, or where there are none, PyTorch's own.
        licence: said before a download.

    Raises:
        WeightsUnavailable: not here, and not to be had now.
    """
    from huggingface_hub import snapshot_download

    def look(weights: str, **how: Any) -> Path:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[*files, weights], **how))

    with suppress(OSError, ValueError):  # LocalEntryNotFoundError is both
        folder = look(SAFE, local_files_only=True)
        if (folder / "config.json").is_file() and weights_in(folder):
            return folder
    LOG.warning("Downloading %s from the hub, once. Licence of these weights: %s.", repository, licence)
    try:
        with hub.quick_to_fail():
            folder = look(SAFE)
            return folder if weights_in(folder) else look(UNSAFE)
    except Exception as error:  # huggingface_hub raises what its HTTP library raises
        raise WeightsUnavailable(
            f"encoder {spec!r}: {repository}{f' at {revision}' if revision else ''} is not on this machine and could not "
            f"be downloaded: {one_line(error)}. Connect once, or copy its folder here and give the path: "
            f"{spec.partition(':')[0]}:/path/to/folder."
        ) from error


def weights_in(folder: Path) -> list[Path]:
    """The weights files of a model folder, safe format first."""
    return [path for name in (SAFE, UNSAFE) for path in sorted(folder.glob(name))]


def from_url(url: str, spec: str, licence: str) -> State:
    """A state dict that torch.hub keeps, downloaded (with progress) where it is not; the name holds its checksum.

    Raises:
        WeightsUnavailable: not here, and not to be had now, or not what its name says.
    """
    import torch

    if not is_here(url):
        LOG.warning("Downloading %s, once. Licence of these weights: %s.", url, licence)
    try:
        with hub.quick_to_fail():
            if not is_here(url) and not hub.reachable(url):
                raise OSError("no network")
            found: State = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", check_hash=True, weights_only=True
            )
        return found
    except Exception as error:  # urllib, sockets, pickle, and RuntimeError for a wrong checksum
        raise WeightsUnavailable(
            f"encoder {spec!r}: {url} is not on this machine and could not be downloaded, or is damaged: "
            f"{one_line(error)}. Connect once, or give a local file: {spec.partition('@')[0]}@/path/to/weights.pth."
        ) from error


def is_here(file: str | None) -> bool:
    """Whether weights are on this machine: a URL in torch.hub's folder, `owner/name` in the hub's cache, or None, which
    needs no file. Imports neither library."""
    if file is None:
        return True
    if "://" in file:
        home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
        return Path(home, "hub", "checkpoints", file.rpartition("/")[2]).expanduser().is_file()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()
    return any(weights_in(folder) for folder in cache.glob(f"models--{file.replace('/', '--')}/snapshots/*"))


def one_line(error: BaseException, limit: int = 300) -> str:
    """What an error says, on one line of bounded length."""
    return " ".join(str(error).split())[:limit].rstrip(". ") or type(error).__name__


def _some(names: list[str], limit: int = 4) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
