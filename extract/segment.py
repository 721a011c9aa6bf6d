"""The segment: the one value that flows from extraction to a search hit.

A segment is a half-open span `[start_s, end_s)` of one video with one embedding. `Segment` is one of them,
`Segments` is S of them in columns. The Arrow schema of both is declared here and nowhere inferred.

Embeddings are L2-normalised in float32 and stored as float16: half the bytes, and the inner product of two unit
vectors moves by less than 1e-3 (rounding is at most 2^-11 per coordinate, relative).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FloatArray = npt.NDArray[np.floating]
Labels = tuple[tuple[str, float], ...]  # (class, probability 0..1), likeliest first

LABELS = "labels"
WEIGHT = "head_weight"  # a head's quality column: what each segment counts in a mean over several
LEAST_WEIGHT = 1e-4  # 0 would take a segment away altogether, also where it stands alone
LABELS_TYPE = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))

ROW_BITS = 21  # 2 097 152 segments per video: 24 days at one a second, 19 hours at thirty


def segment_ids(video_id: str, count: int) -> npt.NDArray[np.int64]:
    """The ids of a video's segments in time order: 42 bits of the video's hash, then 21 bits of row number.

    They depend on nothing but the video, so writers on different machines need not agree on a counter. Two of
    100 000 videos share 42 bits with probability 0.1 %; `verify` and `index` check, since ids are what joins go by.

    Raises:
        ValueError: the video has more segments than `2**ROW_BITS`.
    """
    if count > 1 << ROW_BITS:
        raise ValueError(
            f"video {video_id} has {count} segments; got more than the {1 << ROW_BITS} that ids can tell apart"
        )
    return (np.int64(video_number(video_id)) << ROW_BITS) + np.arange(count, dtype=np.int64)


def video_number(video_id: str) -> int:
    """The upper 42 bits of a video's segment ids: `segment_id >> ROW_BITS`."""
    digest = hashlib.blake2b(video_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - 42)


def segment_schema(dim: int, quality: Sequence[str] = (), *, labels: bool = False) -> pa.Schema:
    """The declared columns of `features/<slug>/*.parquet`; `quality` names the encoder's float32 columns."""
    fields = [
        pa.field("segment_id", pa.int64(), nullable=False),  # unique within the encoder's features
        pa.field("video_id", pa.string(), nullable=False),  # joins to the videos table
        pa.field("start_s", pa.float64(), nullable=False),  # inclusive
        pa.field("end_s", pa.float64(), nullable=False),  # exclusive
        pa.field("time_s", pa.float64(), nullable=False),  # presentation time of the frame that was encoded
        pa.field("embedding", pa.list_(pa.field("element", pa.float16(), nullable=False), dim), nullable=False),
    ]
    fields += [pa.field(name, pa.float32()) for name in quality]
    return pa.schema([*fields, *([pa.field(LABELS, LABELS_TYPE)] if labels else [])])


@dataclass(frozen=True, slots=True)
class Segment:
    """A half-open span of one video.

    Attributes:
        segment_id: unique within one encoder's features.
        video_id: joins to the videos table.
        start_s, end_s: seconds on the video's timeline, half-open.
        time_s: presentation time of the frame that was encoded, seconds.
        embedding: (D,) float16, unit norm, or None where it was not read.
    """

    segment_id: int
    video_id: str
    start_s: float
    end_s: float
    time_s: float
    embedding: FloatArray | None = None

    def __repr__(self) -> str:
        return f"Segment({self.video_id} [{self.start_s:.2f}, {self.end_s:.2f}) s)"


@dataclass(frozen=True)
class Segments:
    """S segments in columns; `segments[mask]` is `Segments` again, iteration gives `Segment`.

    Attributes:
        segment_id: (S,) int64.    video_id: S strings.
        start_s, end_s, time_s: (S,) float64, seconds.
        embedding: (S, D) float16, unit norm; D may be 0 where embeddings were not read.
        quality: name -> (S,) float32, the columns an encoder declares.
        labels: (S,) of `Labels`, what a classifier says; None where it was not asked.
    """

    segment_id: npt.NDArray[np.int64]
    video_id: npt.NDArray[np.object_]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    time_s: npt.NDArray[np.float64]
    embedding: FloatArray
    quality: dict[str, FloatArray] = field(default_factory=dict)
    labels: npt.NDArray[np.object_] | None = None

    def __post_init__(self) -> None:
        count = len(self.segment_id)
        columns: dict[str, npt.NDArray[Any]] = {
            "video_id": self.video_id,
            "start_s": self.start_s,
            "end_s": self.end_s,
            "time_s": self.time_s,
        }
        if self.labels is not None:
            columns[LABELS] = self.labels
        for name, column in {**columns, "embedding": self.embedding, **self.quality}.items():
            if len(column) != count:
                raise ValueError(f"{name} has {len(column)} rows, segment_id has {count}; expected one row per segment")
        if self.embedding.ndim != 2:
            raise ValueError(f"embedding must be (S, D), got {self.embedding.shape = }")
        if not np.all(self.start_s < self.end_s):
            raise ValueError("every segment must have start_s < end_s (spans are half-open)")

    def __len__(self) -> int:
        return len(self.segment_id)

    def __iter__(self) -> Iterator[Segment]:
        for i in range(len(self)):
            yield Segment(
                int(self.segment_id[i]),
                str(self.video_id[i]),
                float(self.start_s[i]),
                float(self.end_s[i]),
                float(self.time_s[i]),
                self.embedding[i] if self.embedding.shape[1] else None,
            )

    def __getitem__(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.integer] | slice) -> "Segments":
        return Segments(
            self.segment_id[rows],
            self.video_id[rows],
            self.start_s[rows],
            self.end_s[rows],
            self.time_s[rows],
            self.embedding[rows],
            {name: column[rows] for name, column in self.quality.items()},
            None if self.labels is None else self.labels[rows],
        )

    def by_video(self) -> Iterator["Segments"]:
        """The segments of each video, where those of one video follow each other, as in every file of an archive."""
        names = self.video_id.astype(str)
        edges = np.flatnonzero(np.r_[True, names[1:] != names[:-1], True]) if len(names) else np.zeros(1, np.int64)
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            yield self[slice(low, high)]

    def with_columns(self, names: Sequence[str]) -> "Segments":
        """Only these quality columns, in this order; one that is not here is not a number anywhere."""
        nothing = np.full(len(self), np.nan, np.float32)
        return replace(self, quality={name: self.quality.get(name, nothing) for name in names})

    def weight(self) -> npt.NDArray[np.float32] | None:
        """(S,) what each counts in a mean over several, above 0; None where they count alike."""
        if WEIGHT not in self.quality:
            return None
        said = np.asarray(self.quality[WEIGHT], np.float32)
        return np.where(np.isfinite(said) & (said >= 0), np.maximum(said, np.float32(LEAST_WEIGHT)), np.float32(1))

    def __repr__(self) -> str:
        return f"Segments({len(self)} x {self.embedding.shape[1]})"

    def to_table(self) -> pa.Table:
        """As an Arrow table of `segment_schema`."""
        dim = self.embedding.shape[1]
        schema = segment_schema(dim, tuple(self.quality), labels=self.labels is not None)
        flat = pa.array(np.ascontiguousarray(self.embedding, dtype=np.float16).reshape(-1))
        columns = [
            pa.array(self.segment_id),
            pa.array(self.video_id, pa.string()),
            pa.array(self.start_s),
            pa.array(self.end_s),
            pa.array(self.time_s),
            pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type),
        ]
        columns += [pa.array(column, pa.float32()) for column in self.quality.values()]
        if self.labels is not None:
            pairs = [[{"label": label, "probability": p} for label, p in labels] for labels in self.labels]
            columns.append(pa.array(pairs, LABELS_TYPE))
        return pa.Table.from_arrays(columns, schema=schema)

    @classmethod
    def from_table(cls, table: pa.Table) -> "Segments":
        """From a table of `segment_schema`, with or without its `embedding` column."""
        known = {"segment_id", "video_id", "start_s", "end_s", "time_s", "embedding", LABELS}
        embedding: FloatArray = np.zeros((table.num_rows, 0), np.float16)
        if "embedding" in table.column_names:
            column = table.column("embedding").combine_chunks()
            embedding = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
        return cls(
            table.column("segment_id").to_numpy(),
            table.column("video_id").to_numpy(zero_copy_only=False).astype(object),
            table.column("start_s").to_numpy(),
            table.column("end_s").to_numpy(),
            table.column("time_s").to_numpy(),
            embedding,
            {name: table.column(name).to_numpy() for name in table.column_names if name not in known},
            _labels_of(table.column(LABELS)) if LABELS in table.column_names else None,
        )


def _labels_of(column: pa.ChunkedArray) -> npt.NDArray[np.object_]:
    out = np.empty(len(column), object)
    for i, pairs in enumerate(column.to_pylist()):
        out[i] = tuple((pair["label"], pair["probability"]) for pair in pairs or ())
    return out


def unit_norm_f16(vectors: FloatArray) -> npt.NDArray[np.float16]:
    """L2-normalise (S, D) in float32, then cast to float16: the declared form of stored embeddings.

    Raises:
        ValueError: a row is zero or not finite, so it has no direction.
    """
    vectors = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms)) or np.any(norms == 0):
        bad = int(np.argmax(~np.isfinite(norms) | (norms == 0)))
        raise ValueError(f"embedding {bad} has norm {float(norms[bad, 0])}; expected a finite vector with a direction")
    return np.asarray(vectors / norms, np.float16)
