"""Features that a head made, as an encoder: `head:NAME`, whose pictures and sentences go through its base encoder first.

Only an archive knows what it stands on, so there is no such family for `extract`; `load_stored_encoder` loads whatever made the
features of an archive.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..encoders.base import Embeddings, Encoder, FrameEncoder, Frames, templates_of
from ..encoders.registry import load_encoder
from ..fingerprint import MODEL_KEYS, Fingerprint, require_same
from ..segment import WEIGHT
from ..store import Store
from .stored import Made, head_of, load_stored, print_of

if TYPE_CHECKING:
    from .tuned import Tuned

REMEDY = "A query made with other weights finds nothing. Bring the weights back, or extract again into a new archive."


def load_stored_encoder(store: Store, slug: str, device: str = "cpu") -> Encoder:
    """The encoder that made the features of a slug, checked against their fingerprint.

    Raises:
        FingerprintMismatch: the weights found now are not those of the archive.    Damaged: a head's files are broken.
    """
    stored = store.encoders()[slug]
    head = head_of(stored)
    if head is None:
        encoder: Encoder = load_encoder(str(stored["spec"]), device)
    else:
        tuned, made = load_stored(store, str(head["name"]))
        base = load_encoder(str(made.base_print["spec"]), device)
        require_same(made.base_print, print_of(base.fingerprint()), MODEL_KEYS, remedy=REMEDY, other="the encoder now")
        encoder = HeadedEncoder(base, tuned, made)  # type: ignore[arg-type]  # heads are trained on frames only
    require_same(stored, encoder.fingerprint(), MODEL_KEYS, remedy=REMEDY)
    return encoder


class HeadedEncoder:
    """A `FrameEncoder`: the base's frames and texts, as the head maps them."""

    def __init__(self, base: FrameEncoder, tuned: "Tuned", made: Made) -> None:
        self.spec, self.dim, self.has_text, self.geometry = f"head:{made.name}", base.dim, base.has_text, base.geometry
        self.templates = templates_of(base)
        self._base, self._tuned, self._made = base, tuned, made

    def fingerprint(self) -> dict[str, Any]:
        """As `FrameEncoder.fingerprint`."""
        return headed(self._base.fingerprint(), self._made)

    def encode_frames(self, frames: Frames) -> Embeddings:
        """As `FrameEncoder.encode_frames`: each picture as a video of one frame."""
        import torch

        vectors = torch.from_numpy(self._base.encode_frames(frames))[:, None]
        with torch.inference_mode():
            out: Embeddings = self._tuned.along(vectors, torch.ones(len(vectors), 1, dtype=torch.bool))[:, 0].numpy()
        return out

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """As `FrameEncoder.encode_text`."""
        import torch

        with torch.inference_mode():
            out: Embeddings = self._tuned.text(torch.from_numpy(self._base.encode_text(texts))).numpy()
        return out


def headed(base: Fingerprint, made: Made) -> Fingerprint:
    """The fingerprint of what a head makes from the features of a fingerprint: the base's, with the head as its lineage."""
    weights = hashlib.sha256(f"{made.base_print['weights_sha256']}{made.sha256}".encode()).hexdigest()
    lineage = {
        "name": made.name,
        "sha256": made.sha256,
        "base": made.base,
        "base_print": made.base_print,
        "clips": made.clips,
        "clips_print": made.clips_print,
    }
    columns = list(base.get("columns", []))
    if made.network.get("weighs") and WEIGHT not in columns:
        columns.append(WEIGHT)
    pooling = f"{made.network['head']['kind']} head over windows of {made.context} of: {base.get('pooling')}"
    return {
        **base,
        "spec": f"head:{made.name}",
        "weights_sha256": weights,
        "pooling": pooling,
        "columns": columns,
        "head": lineage,
    }
