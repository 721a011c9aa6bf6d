"""Checkpoints of CLIP4Clip's code: which of their parameters are the head's, and which are CLIP's.

    clip.logit_scale, clip.visual..., clip.transformer...    the two towers, fine-tuned, under OpenAI's names
    frame_position_embeddings, transformerClip               seqTransf            lstm_visual    seqLSTM
    video_weight_fc, text_weight_fc                          of DRL, which builds on the same code

The towers are read by `finetune/importing.py`. Their heads take CLIP's features as they come; archives hold them with norm 1.
So a head that goes into an archive gets a scale (`FEATURE_NORM`), which is only about right: frames differ in norm by some
percent.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ..encoders.weights import fill, read_state
from ..errors import UsageError, WeightsUnavailable

if TYPE_CHECKING:
    from torch import Tensor

    from .networks import Head

PREFIXES = {
    "mean": (),
    "lstm": ("lstm_visual.",),
    "transformer": ("frame_position_embeddings.", "transformerClip."),
    "wti": ("video_weight_fc.", "text_weight_fc."),
}
SCALE = "logit_scale"
# Tells D: the rows of positions, or the output of a tower.
WIDTHS = ("frame_position_embeddings.weight", "clip.text_projection", "clip.visual.proj")
FEATURE_NORM = 10.0  # of OpenAI's ViT-B image features, about


def read_head(path: Path, kind: str) -> "Head":
    """See `load_head`."""
    from .networks import make_head

    if kind not in PREFIXES:
        raise UsageError(f"no head {kind!r}; expected one of {', '.join(PREFIXES)}.")
    spec = f"head:{kind}"
    state = read_state(path, spec)
    own = {name: value.float() for name, value in state.items() if name.startswith(PREFIXES[kind])}
    if kind != "mean" and not own:
        has = [other for other, prefixes in PREFIXES.items() if prefixes and any(n.startswith(prefixes) for n in state)]
        raise WeightsUnavailable(
            f"{path} has no {kind} head: expected parameters called {' or '.join(p + '...' for p in PREFIXES[kind])}; "
            f"it has {', '.join(has) or 'none of a head, so only mean'}. Choose that one with --head."
        )
    scale = state.get(f"clip.{SCALE}", state.get(SCALE))
    if scale is not None:
        own[SCALE] = scale.float().reshape(())
    dim, positions, layers = _sizes(path, state, own)
    head = make_head(kind, dim, max_frames=positions, layers=layers)
    if scale is None:
        own[SCALE] = head.logit_scale.detach()
    fill(head, own, spec, path)
    return head.eval()


def _sizes(path: Path, state: "dict[str, Tensor]", own: "dict[str, Tensor]") -> tuple[int, int, int]:
    """D, positions and layers."""
    from .networks import MAX_FRAMES

    widths = [state[name].shape[-1] for name in WIDTHS if name in state and state[name].ndim == 2]
    widths += [v.shape[1] for name, v in own.items() if name.endswith(("weight_ih_l0", "fc.0.weight")) and v.ndim == 2]
    if not widths:
        raise WeightsUnavailable(
            f"{path} does not say how long its features are: expected one of {', '.join(WIDTHS)}. Is it CLIP4Clip's?"
        )
    positions = own.get(WIDTHS[0])
    layers = {name.split(".")[2] for name in own if name.startswith("transformerClip.resblocks.")}
    return int(widths[0]), MAX_FRAMES if positions is None else len(positions), len(layers)
