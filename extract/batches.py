"""Pictures and clips of all videos to encoders in full batches, on a thread beside the run.

Short videos fill batches together. What does not fit into memory is halved, and the size that fitted is remembered. An
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

from .clips import Clip, Picture
from .encoders.base import ClipEncoder, Clips, Encoder, Features, Probabilities, own_columns
from .errors import VideoError
from .looks import look
from .segment import Labels, unit_norm_f16
from .take import Row, Take

AHEAD = 2
PATIENCE_S = 1.0  # how long a picture may wait for its batch to fill while the encoder has nothing to do
ON_CPU, ON_CUDA = 32, 256

Item = Picture | Clip
Answer = Row | VideoError


@dataclass
class _Batch:
    """Pictures or clips, whose they are, and since when the first waits."""

    items: list[Item] = field(default_factory=list)
    owners: list[tuple[Take, int]] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


class Fit:
    """How many pictures or clips one encoder takes at once; halves when memory runs out, and remembers.

    Args:
        size: to begin with.    labels: how many of a clip's likeliest classes to keep.
    """

    def __init__(self, encoder: Encoder, size: int, labels: int = 0) -> None:
        self.encoder = encoder
        self.size = size
        self._labels = labels

    def encode(self, items: Sequence[Item]) -> list[Row]:
        """One row per picture or clip.

        Raises:
            VideoError: out_of_memory for a single one, or whatever else the encoder raised.
        """
        rows: list[Row] = []
        while len(rows) < len(items):
            full = False
            try:
                rows += self._rows(items[len(rows) : len(rows) + self.size])
            except Exception as error:
                full = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
                if not full or self.size == 1:
                    kind = "out_of_memory" if full else "encoder"
                    words = f"{self.encoder.spec}: {type(error).__name__}: {error}"
                    raise VideoError(kind, words, stage="encode") from error
            if full:  # outside the handler, so that the failed try's memory is free again
                self.size = max(1, min(self.size, len(items) - len(rows)) // 2)
        return rows

    def answers(self, items: Sequence[Item], owners: Sequence[object]) -> list[Answer]:
        """One row or fault per item; a fault costs only the video (`owners`, in runs) whose items raise it."""
        try:
            return list(self.encode(items))
        except VideoError as error:
            if len({id(owner) for owner in owners}) == 1:
                return [error] * len(items)
        answers: list[Answer] = []
        for _, run in groupby(range(len(items)), key=lambda i: id(owners[i])):
            part = list(run)
            answers += self.answers([items[i] for i in part], [owners[i] for i in part])
        return answers

    def _rows(self, items: Sequence[Item]) -> list[Row]:
        looks, features = _features(self.encoder, items)
        vectors = unit_norm_f16(features.embedding)
        if vectors.shape != (len(items), self.encoder.dim):
            what = "clips" if isinstance(items[0], Clip) else "frames"
            raise ValueError(f"{len(items)} {what} gave {vectors.shape}; expected D = {self.encoder.dim}")
        columns = np.column_stack([looks, *(features.columns[name] for name in own_columns(self.encoder))])
        labels: list[Labels | None] = [None] * len(items)
        if self._labels and isinstance(self.encoder, ClipEncoder) and features.probabilities is not None:
            labels = [*likeliest(features.probabilities, self.encoder.labels, self._labels)]
        return [Row(*parts) for parts in zip(vectors, columns.astype(np.float32), labels, strict=True)]


def _features(encoder: Encoder, items: Sequence[Item]) -> tuple[npt.NDArray[np.float32], Features]:
    """(B, 2) looks, and what the encoder says."""
    if isinstance(encoder, ClipEncoder):
        clips = Clips.of([item for item in items if isinstance(item, Clip)])
        return look(clips.frames).mean(axis=1), encoder.encode_clips(clips)
    frames = np.stack([item for item in items if not isinstance(item, Clip)])
    return look(frames), Features(encoder.encode_frames(frames))


def likeliest(probabilities: Probabilities, names: Sequence[str], count: int) -> list[Labels]:
    """(B, C) -> per row the `count` likeliest (name, probability), likeliest first; of equal ones the first named."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    return [
        tuple((names[c], float(row[c])) for c in best) for row, best in zip(probabilities, order.tolist(), strict=True)
    ]


class Batches:
    """Use it as a context manager. Everything but the encoding itself happens on the caller's thread.

    Args:
        size: pictures per encoder call, those of clips counted one by one.    frames: per clip, of clip encoders.
        labels: how many of a clip's likeliest classes to keep.
    """

    def __init__(
        self, encoders: Mapping[str, Encoder], size: int, frames: Mapping[str, int] | None = None, labels: int = 0
    ) -> None:
        self._sizes = {slug: max(1, size // (frames or {}).get(slug, 1)) for slug in encoders}
        self._fits = {slug: Fit(encoder, self._sizes[slug], labels) for slug, encoder in encoders.items()}
        self._filling: dict[str, _Batch] = {}
        self._running: dict[Future[tuple[list[Answer], float]], list[tuple[Take, int]]] = {}
        self._thread = ThreadPoolExecutor(1, "encode")
        self.busy_s = 0.0

    def add(self, slug: str, take: Take, index: int, item: Item) -> None:
        """One (H, W, 3) picture or clip, which must not change; its row will be delivered to `take` under `index`."""
        batch = self._filling.setdefault(slug, _Batch())
        batch.items.append(item)
        batch.owners.append((take, index))
        if len(batch.owners) == self._sizes[slug]:
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
        """Pictures or clips per call that fitted into memory, by encoder."""
        return {slug: fit.size for slug, fit in self._fits.items()}

    def _launch(self, slug: str) -> None:
        batch = self._filling.pop(slug)
        future = self._thread.submit(_timed, self._fits[slug], batch.items, [take for take, _ in batch.owners])
        self._running[future] = batch.owners

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)


def _timed(fit: Fit, items: Sequence[Item], owners: Sequence[object]) -> tuple[list[Answer], float]:
    began = time.perf_counter()
    answers = fit.answers(items, owners)
    return answers, time.perf_counter() - began


def automatic_size(device: str) -> int:
    """Pictures per call to begin with: enough to keep the device busy, little enough for a small one."""
    torch = sys.modules.get("torch")  # an encoder that could use a GPU has imported it to see whether there is one
    return ON_CUDA if device != "cpu" and torch is not None and torch.cuda.is_available() else ON_CPU
