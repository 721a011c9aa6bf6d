"""CLIP's two towers as something that trains: low-rank adapters in them, and a checkpoint that `extract` loads.

    towers = load_towers("openclip:PE-Core-B-16@meta", "cuda")
    add_lora(towers.model)                   # all that trains from here on
    spec = save_towers(towers, folder)       # merged: "openclip:/folder", for `extract --encoder`

LoRA: Hu et al. 2021 (arXiv 2106.09685), through peft: W + (alpha / rank) B A, where B starts at 0, so training starts at
the original. It goes into every linear layer (MLPs; timm's attention) and, by peft's `target_parameters`, into the queries,
keys and values of `nn.MultiheadAttention`, which are one parameter and no layer. Not into that module's output projection:
its weight is read without a call that could be hooked, and peft's own wrapper of the whole module adds and subtracts in
place at each pass, which leaves rounding errors in weights that must not change.

A folder and not a bare file is written, because a bare one says neither how pictures are normalised nor which activation it
was trained with: `openclip:NAME@file` would take the defaults of NAME, and PE-Core's differ from them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..extract.encoders.openclip import OpenClipEncoder
from ..extract.encoders.preprocess import Preprocessing
from ..extract.encoders.registry import load_encoder
from ..extract.encoders.spec import is_path
from ..extract.errors import NightreelError, UsageError
from ..extract.files import write_atomic, write_json

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
RANK, ALPHA = 8, 16
SAME = 1e-4  # embeddings of the saved model differ from those of the trained one by less


@dataclass(frozen=True)
class Towers:
    """Attributes:
    model: open_clip's, with `encode_image`, `encode_text` and `logit_scale`.    tokenizer: sentences -> (B, L) int64.
    how: what happens to pictures.    config: open_clip's `model_cfg` and `preprocess_cfg`.
    encoder: the same model as `extract` uses it.
    """

    model: nn.Module
    tokenizer: Any
    how: Preprocessing
    config: dict[str, Any]
    encoder: OpenClipEncoder


def load_towers(spec: str, device: str) -> Towers:
    """An open_clip model, in evaluation mode, without gradients.

    Raises:
        UsageError: another kind of encoder.    WeightsUnavailable: see `openclip.load`.
    """
    if not spec.startswith("openclip:"):
        raise UsageError(
            f"--train lora and all train the towers of open_clip models, got the features of {spec}. "
            "Expected features of an encoder openclip:...; others train with --train adapter or head."
        )
    encoder = load_encoder(spec, device)
    assert isinstance(encoder, OpenClipEncoder)
    return Towers(encoder.model, encoder.tokenizer, encoder.preprocessing, _config(spec, encoder.model), encoder)


def add_lora(model: nn.Module, rank: int = RANK, alpha: int = ALPHA) -> nn.Module:
    """Puts adapters into both towers, in place; they alone have gradients afterwards. Returns peft's model, for `merge`.

    Raises:
        UsageError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise UsageError("--train lora needs peft, which is not installed: pip install 'nightreel[train]'") from error
    modules, parameters = lora_targets(model)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=modules, target_parameters=parameters)
    return get_peft_model(model, config)


def lora_targets(model: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the linear layers, and of the parameters of attention, that get adapters."""
    attention = [name for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)]
    inside = {f"{name}.out_proj" for name in attention}
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name not in inside]
    return linear, [f"{name}.in_proj_weight" for name in attention]


def merge(peft_model: nn.Module) -> None:
    """The adapters become part of the weights, in place: the model has the layers that it had before `add_lora`."""
    peft_model.merge_and_unload()  # type: ignore[operator]


class Trained(nn.Module):
    """The towers as the loop sees them: what a checkpoint holds is what trains, and batch norms stay as they are.

    A ResNet's batch norms would see other batches under gradient caching than without, and change for all pairs together.
    """

    def __init__(self, towers: nn.Module) -> None:
        super().__init__()
        self.towers = towers

    def train(self, mode: bool = True) -> "Trained":
        """As `nn.Module.train`, but for batch norms."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Of the parameters with gradients only."""
        trains = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if name in trains}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """The inverse of `state_dict`.

        Raises:
            KeyError: other parameters than those that train.
        """
        if set(state_dict) != (mine := set(self.state_dict())):
            raise KeyError(f"parameters of another run: {sorted(set(state_dict) ^ mine)[:4]}")
        return super().load_state_dict(state_dict, strict=False, assign=assign)


def save_towers(towers: Towers, folder: Path) -> str:
    """Writes the model as open_clip's users have it; returns the encoder spec that loads it. Merge adapters first.

    Raises:
        NightreelError: what was written does not load as the same model; it is removed.
    """
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in towers.model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(towers.tokenizer, "save_pretrained"):  # of a language model: open_clip looks for it in the same folder
        towers.tokenizer.save_pretrained(folder)
    write_atomic(folder / WEIGHTS, lambda temporary: save_file(state, temporary))
    write_json(folder / CONFIG, towers.config)
    spec = f"openclip:{folder.absolute()}"
    worst = _difference(towers, spec)
    if worst > SAME:
        for name in (CONFIG, WEIGHTS):
            (folder / name).unlink()
        raise NightreelError(
            f"the trained towers were written to {folder}, but what loads from there differs by {worst:.2g} from what was "
            f"trained: open_clip's configuration of {towers.encoder.spec} does not say all of it. They were removed; please "
            "report this."
        )
    return spec


def _difference(towers: Towers, spec: str) -> float:
    """The largest difference in an embedding of a picture and a sentence."""
    again = load_encoder(spec, "cpu")
    assert isinstance(again, OpenClipEncoder)
    height, width = towers.how.geometry.size_px
    picture = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    device = next(towers.model.parameters()).device
    towers.model.eval().cpu()
    mine = OpenClipEncoder("", towers.model, towers.tokenizer, towers.how, "", "cpu")
    pairs = (
        (encoder.encode_frames(picture), encoder.encode_text(["a red circle moves to the left"]))
        for encoder in (mine, again)
    )
    (picture_a, text_a), (picture_b, text_b) = pairs
    towers.model.to(device)
    return float(max(abs(picture_a - picture_b).max(), abs(text_a - text_b).max()))


def _config(spec: str, model: nn.Module) -> dict[str, Any]:
    """`open_clip_config.json` of a loaded model: its architecture, with the activation that it has, and its pictures."""
    import open_clip
    from open_clip.transformer import QuickGELU

    name = spec.removeprefix("openclip:").partition("@")[0]
    config = open_clip.get_model_config(f"local-dir:{name}" if is_path(name) else name)
    if any(
        isinstance(module, QuickGELU) for module in model.modules()
    ):  # OpenAI's weights; by the tag, not by the name
        config["quick_gelu"] = True
    pictures: dict[str, Any] = dict(model.visual.preprocess_cfg)  # type: ignore[arg-type, union-attr]
    return json.loads(json.dumps({"model_cfg": config, "preprocess_cfg": pictures}))  # type: ignore[no-any-return]
