"""Embeddings of one video at a time, at random, without decoding: a view into the file where they lie raw.

`write_parquet` stores a video's embeddings uncompressed in one page, so their numbers are the last bytes of that column of
the video's row group, as they are. Files of older versions, of other programs, or with more than one page are read with
pyarrow instead: the same numbers, 5 times slower. What is read raw is not checked against its checksums; `verify` does that.

A file's footer is read once (2 ms with 20 videos) and remembered (100 bytes a video). A view then costs 2 µs, or 50 where the
file must be mapped again, and its pages come from disk when they are touched. It stays valid while it is held, also when its
file is deleted.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from .commits import DataFile
from .store import Store
from .writer import EMBEDDING

MAX_MAPS = 128  # each holds a file descriptor, of which a process may have as few as 256
_HEAD_BYTES = 32  # the part of a page's header that is looked at takes at most 2 + 4 * 6 + 1

Halves = npt.NDArray[np.float16]
Place = tuple[int, int]  # bytes from the file's beginning, rows


class Vectors:
    """Embeddings of an encoder by video, as of the store's state at each call. For one thread at a time."""

    def __init__(self, store: Store, slug: str) -> None:
        self._store = store
        self._slug = slug
        self._dim = store.declared(slug).field("embedding").type.list_size
        self._places: dict[str, dict[str, Place]] = {}  # file -> video id -> where, of those that lie raw
        self._maps: OrderedDict[str, npt.NDArray[np.uint8]] = OrderedDict()  # file -> its bytes, last used last

    def of(self, video_id: str) -> Halves:
        """(T, D) float16 of a video's segments in time order, to read only; (0, D) if the encoder has none of it.

        Raises:
            Damaged: the file is missing, cannot be read, or is not what was committed.
        """
        file = self._store.state.rows.get(self._slug, {}).get(video_id)
        if file is None:
            return np.zeros((0, self._dim), np.float16)
        place = self._places_in(file).get(video_id)
        data = self._map(file)
        if place is None or len(data) != file.bytes:
            return self._store.segments_of(self._slug, video_id).embedding.astype(np.float16, copy=False)
        at, rows = place
        return data[at : at + 2 * rows * self._dim].view(np.float16).reshape(rows, self._dim)

    def rows(self, video_id: str, rows: npt.NDArray[np.integer]) -> Halves:
        """(n, D) float16, a copy of these rows of a video, in the order asked; touches nothing of the others.

        Raises:
            IndexError: the video has no such row.  Damaged: as `of`.
        """
        return np.array(self.of(video_id)[np.asarray(rows, np.int64)])

    def _places_in(self, file: DataFile) -> dict[str, Place]:
        if file.path not in self._places:
            with self._store.opened(file, ["embedding"]) as opened:
                footer = opened.metadata
            self._places[file.path] = raw_places(footer, file.videos, self._dim, self._map(file))
        return self._places[file.path]

    def _map(self, file: DataFile) -> npt.NDArray[np.uint8]:
        found = self._maps.pop(file.path, None)
        if found is None:
            found = _mapped(self._store, file)
        self._maps[file.path] = found
        if len(self._maps) > MAX_MAPS:
            self._maps.popitem(last=False)
        return found


def _mapped(store: Store, file: DataFile) -> npt.NDArray[np.uint8]:
    path: Path = store.root / file.path
    try:
        return np.asarray(np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError):
        with store.opened(file):  # says what is wrong with it, and what to do
            raise


def raw_places(
    footer: pq.FileMetaData, videos: tuple[str, ...], dim: int, data: npt.NDArray[np.uint8]
) -> dict[str, Place]:
    """Where the embeddings of each video lie raw; a video is left out if that is not certain.

    Args:
        footer: of the file.    videos: ids in the order of its row groups.    data: the file's bytes.
    """
    if footer.num_row_groups != len(videos):
        return {}
    names = [footer.schema.column(i).path for i in range(footer.num_columns)]
    if EMBEDDING not in names or "video_id" not in names:
        return {}
    embedding, owner = names.index(EMBEDDING), names.index("video_id")
    places = {}
    for number, video_id in enumerate(videos):
        group = footer.row_group(number)
        at = _raw_offset(group.column(embedding), group.num_rows * dim, data)
        if at is not None and _only(group.column(owner), video_id):
            places[video_id] = (at, group.num_rows)
    return places


def _raw_offset(column: Any, values: int, data: npt.NDArray[np.uint8]) -> int | None:
    """Where the column's numbers begin, if they are `values` float16 in a single page as they are."""
    if column.compression != "UNCOMPRESSED" or column.physical_type != "FIXED_LEN_BYTE_ARRAY":
        return None
    if column.has_dictionary_page or not set(column.encodings) <= {"RLE", "PLAIN"} or column.num_values != values:
        return None
    begin, size = column.data_page_offset, column.total_compressed_size
    if size < 2 * values or begin + size > len(data):
        return None
    if values_of_page(data[begin : begin + _HEAD_BYTES].tobytes()) != values:
        return None  # the first of several pages, or something else
    return int(begin + size - 2 * values)  # levels, which say where lists begin, stand before the numbers


def _only(column: Any, video_id: str) -> bool:
    """Whether the footer says that all rows of a group are of this video."""
    facts = column.statistics
    return bool(facts and facts.has_min_max and facts.min == facts.max == video_id)


def values_of_page(head: bytes) -> int | None:
    """How many values the page has whose header (Thrift, compact protocol) begins so; None if it is no data page, version 1.

    PageHeader: 1 type, 2 size, 3 compressed size, 4 checksum (may be missing), 5 {1 values, ...}; each an int32.
    """
    try:
        at, found = 0, {}
        for field in (1, 2, 3, 4):
            if head[at] == 0x15:  # the next field, an int32
                found[field], at = _varint(head, at + 1)
        if found.get(1) != 0 or head[at : at + 2] != (b"\x1c\x15" if 4 in found else b"\x2c\x15"):
            return None
        return _varint(head, at + 2)[0]
    except IndexError:
        return None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(the zigzag integer at `at`, where the next thing begins)."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
