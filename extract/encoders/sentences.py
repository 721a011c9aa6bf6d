"""Sentences to unit vectors by a BERT-like encoder in a folder: mean of its tokens, as sentence-transformers
does it.

It is equal to `SentenceTransformer(folder).encode` within 1e-5 (tests/extract/test_conse.py) without that
dependency. It knows no pictures. The network is loaded at the first sentence; nothing is ever downloaded.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import WeightsUnavailable
from .base import Embeddings

CHUNK = 64


class SentenceEncoder:
    """The sentence encoder in `folder` (config.json, tokenizer files, model.safetensors).

    Attributes:
        dim: D.    checkpoint: the file with the weights.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.checkpoint = folder / "model.safetensors"
        self.dim = int(json.loads((folder / "config.json").read_text())["hidden_size"])
        # Longer sentences are cut where the model was trained to be cut.
        self._max_tokens = int(json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"])
        self._folder = folder
        self._device = device

    @cached_property
    def weights_sha256(self) -> str:
        """Of the checkpoint file."""
        with self.checkpoint.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """Q sentences -> (Q, D) float32, unit norm."""
        import torch

        out = np.empty((len(texts), self.dim), np.float32)
        # Sentences of like length share a chunk, so that little of it is padding.
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        with torch.inference_mode():
            for start in range(0, len(order), CHUNK):
                chosen = order[start : start + CHUNK]
                out[chosen] = self._encode_chunk([texts[at] for at in chosen])
        return out

    def _encode_chunk(self, texts: list[str]) -> Embeddings:
        import torch

        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        hidden = self._network(**tokens).last_hidden_state  # (Q, tokens, D)
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # (Q, tokens, 1)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        unit: Embeddings = torch.nn.functional.normalize(mean, dim=-1).cpu().numpy()
        return unit

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._folder, local_files_only=True)

    @cached_property
    def _network(self) -> Any:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from transformers import AutoConfig, AutoModel

        build: Any = AutoModel
        # Built and filled by hand: `from_pretrained` shows a progress bar and fills what is missing at
        # random.
        network = build.from_config(AutoConfig.from_pretrained(self._folder, local_files_only=True))
        try:
            state = load_file(self.checkpoint)
            missing, _ = network.load_state_dict(state, strict=False)
        except (SafetensorError, RuntimeError) as error:
            raise WeightsUnavailable(
                f"{self.checkpoint} is not the checkpoint its config.json describes: "
                f"{' '.join(str(error).split())[:300]}. Install the package it is from again."
            ) from error
        # The pooler is a head that mean pooling does not use.
        if missing := [name for name in missing if not name.startswith("pooler.")]:
            raise WeightsUnavailable(
                f"{self.checkpoint} lacks {len(missing)} entries, {', '.join(missing[:3])} among them; "
                "expected all that its config.json describes. Install the package it is from again."
            )
        return network.to(self._device).eval().requires_grad_(False)
