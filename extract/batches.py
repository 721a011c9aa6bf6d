"""Pictures of all videos to encoders in full batches, on a thread beside the run.

Short clips fill batches together. What does not fit into memory is halved, and the size that fitted is remembered. An
error that one video's pictures raise costs that video only: its batch is encoded again, video by video.

The thread may fall behind by `AHEAD` batches per encoder; then the run stops taking pictures, the decoders' slots fill
up, and they wait: memory stays bounded however fast decoding is.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import numpy.typing as npt

from .attempt import Take, Vector
from .encoders.base import Encoder, Frames
from .errors import VideoError
from .segment import unit_norm_f16

AHEAD = 2
PATIENCE_S = 1.0  # how long a picture may wait for its batch to fill while the encoder has nothing to do
ON_CPU, ON_CUDA = 32, 256

Answer = Vector | VideoError


@dataclass
class _Batch:
    """Pictures (N, H, W, 3), whose they are, and since when the first waits."""

    pictures: Frames
    owners: list[tuple[Take, int]] = field(default_factory=list)
    since: float = 0.0


class Fit:
    """How many pictures one encoder takes at once; halves when memory runs out, and remembers."""

    def __init__(self, encoder: Encoder, size: int) -> None:
        self.encoder = encoder
        self.size = size

    def encode(self, frames: Frames) -> npt.NDArray[np.float16]:
        """(B, H, W, 3) uint8 -> (B, D) float16, unit norm.

        Raises:
            VideoError: out_of_memory for a single frame, or whatever else the encoder raised.
        """
        parts, at = [], 0
        while at < len(frames):
            full = False
            try:
                some = frames[at : at + self.size]
                vectors = unit_norm_f16(self.encoder.encode_frames(some))
                if vectors.shape != (len(some), self.encoder.dim):
                    raise ValueError(f"{len(some)} frames gave {vectors.shape}; expected D = {self.encoder.dim}")
                parts.append(vectors)
                at += self.size
            except Exception as error:
                full = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
                if not full or self.size == 1:
                    kind = "out_of_memory" if full else "encoder"
                    words = f"{self.encoder.spec}: {type(error).__name__}: {error}"
                    raise VideoError(kind, words, stage="encode") from error
            if full:  # outside the handler, so that the failed try's memory is free again
                self.size = max(1, min(self.size, len(frames) - at) // 2)
        return np.concatenate(parts)

    def answers(self, frames: Frames, owners: Sequence[object]) -> list[Answer]:
        """One vector or fault per frame; a fault costs only the video (`owners`, in runs) whose frames raise it."""
        try:
            return list(self.encode(frames))
        except VideoError as error:
            if len({id(owner) for owner in owners}) == 1:
                return [error] * len(frames)
        answers: list[Answer] = []
        for _, run in groupby(range(len(frames)), key=lambda i: id(owners[i])):
            part = list(run)
            answers += self.answers(frames[part], [owners[i] for i in part])
        return answers


class Batches:
    """Use it as a context manager. Everything but the encoding itself happens on the caller's thread."""

    def __init__(self, encoders: Mapping[str, Encoder], size: int) -> None:
        self._fits = {slug: Fit(encoder, size) for slug, encoder in encoders.items()}
        self._size = size
        self._filling: dict[str, _Batch] = {}
        self._running: dict[Future[tuple[list[Answer], float]], list[tuple[Take, int]]] = {}
        self._thread = ThreadPoolExecutor(1, "encode")
        self.busy_s = 0.0

    def add(self, slug: str, take: Take, index: int, picture: Frames) -> None:
        """Copy one (H, W, 3) picture; its vector will be delivered to `take` under `index`."""
        batch = self._filling.get(slug)
        if batch is None:
            batch = _Batch(np.empty((self._size, *picture.shape), np.uint8), since=time.monotonic())
            self._filling[slug] = batch
        batch.pictures[len(batch.owners)] = picture
        batch.owners.append((take, index))
        if len(batch.owners) == self._size:
            self._launch(slug)

    def flush(self) -> None:
        """Encode what there is, full or not."""
        for slug in list(self._filling):
            self._launch(slug)

    def deliver(self, timeout_s: float = 0.0) -> None:
        """Hand out what is encoded; wait up to `timeout_s` for something to be. Starts half-filled batches that have
        waited long while nothing else is encoded."""
        done, _ = wait(self._running, timeout_s, FIRST_COMPLETED)
        for future in done:
            owners = self._running.pop(future)
            answers, seconds = future.result()
            self.busy_s += seconds
            for (take, index), answer in zip(owners, answers, strict=True):
                take.deliver(index, answer)
        if not self._running:
            now = time.monotonic()
            for slug, batch in list(self._filling.items()):
                if now - batch.since > PATIENCE_S:
                    self._launch(slug)

    @property
    def behind(self) -> bool:
        """Whether the encoders cannot keep up: take no more pictures now."""
        return len(self._running) >= AHEAD * len(self._fits)

    @property
    def idle(self) -> bool:
        """Nothing is being encoded."""
        return not self._running

    @property
    def sizes(self) -> dict[str, int]:
        """Pictures per call that fitted into memory, by encoder."""
        return {slug: fit.size for slug, fit in self._fits.items()}

    def _launch(self, slug: str) -> None:
        batch = self._filling.pop(slug)
        pictures = batch.pictures[: len(batch.owners)]
        future = self._thread.submit(_timed, self._fits[slug], pictures, [take for take, _ in batch.owners])
        self._running[future] = batch.owners

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)


def _timed(fit: Fit, frames: Frames, owners: Sequence[object]) -> tuple[list[Answer], float]:
    began = time.perf_counter()
    answers = fit.answers(frames, owners)
    return answers, time.perf_counter() - began


def automatic_size(device: str) -> int:
    """Pictures per call to begin with: enough to keep the device busy, little enough for a small one."""
    torch = sys.modules.get("torch")  # an encoder that could use a GPU has imported it to see whether there is one
    return ON_CUDA if device != "cpu" and torch is not None and torch.cuda.is_available() else ON_CPU
