"""What the 1000 classes of ImageNet mean, as sentence embeddings; kept on disk once they are computed.

A class is the mean of two sentences, its name as the caption of a photo and its WordNet definition. It knows no
classifier and no picture.

Cost: 2000 sentences, 10 s of one core for MiniLM; 10 ms when they are found in the cache folder
($XDG_CACHE_HOME or ~/.cache, `nightreel/`, 1.5 MB). Losing the cache costs these seconds and nothing else.
"""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

from .base import Embeddings
from .sentences import SentenceEncoder

CLASSES = 1000
PROMPTS = ("a photo of a {name}", "{name}: {definition}")


def descriptions() -> list[str]:
    """What is said of each class, class after class, every prompt of one class together."""
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    from timm.data.imagenet_info import ImageNetInfo

    # Of "lemma, lemma: definition" only the definition: open_clip's hand-made names are plainer than the lemmas
    # ("great white shark", not "great white shark, white shark, man-eater, ...").
    detailed = ImageNetInfo("imagenet-1k").label_descriptions(detailed=True)
    definitions = [text.split(": ", 1)[1] for text in detailed]
    return [
        prompt.format(name=name, definition=definition)
        for name, definition in zip(IMAGENET_CLASSNAMES, definitions, strict=True)
        for prompt in PROMPTS
    ]


def centred_bank(sentences: SentenceEncoder) -> Embeddings:
    """(1000, D): each class's embedding, less what all classes share."""
    digest = hashlib.sha256("\n".join([*descriptions(), sentences.weights_sha256]).encode())
    kept = _cache_folder() / f"imagenet-{digest.hexdigest()[:16]}.npy"
    bank = _read(kept, (CLASSES, sentences.dim))
    if bank is None:
        bank = _compute(sentences)
        _write(kept, bank)
    return bank


def _compute(sentences: SentenceEncoder) -> Embeddings:
    embedded = sentences.encode(descriptions()).reshape(CLASSES, len(PROMPTS), sentences.dim)
    bank = embedded.mean(axis=1)
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    bank -= bank.mean(axis=0)
    centred: Embeddings = np.ascontiguousarray(bank, np.float32)
    return centred


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "nightreel").expanduser()


def _read(path: Path, shape: tuple[int, int]) -> Embeddings | None:
    try:
        bank: Embeddings = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return bank if bank.shape == shape and bank.dtype == np.float32 and np.isfinite(bank).all() else None


def _write(path: Path, bank: Embeddings) -> None:
    # A cache that cannot be written (read-only home, full disk) is only slow; renamed last, it is never half there.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".npy")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, bank, allow_pickle=False)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
