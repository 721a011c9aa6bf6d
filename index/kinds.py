"""Which kind of FAISS index: the most exact one that fits the memory, by arithmetic that can be checked by hand.

    kind      bytes a vector       D = 512   what it keeps
    Flat      4 D                  2048      float32: exact and nothing to train, best below 100 000
    fp16      2 D + 8              1032      the stored float16 themselves, in inverted lists: scores are exact
    RaBitQ4   D / 2 + 28           284       4 bits a number (Gao 2024, extended), re-scored from Parquet
    RaBitQ    D / 8 + 16           80        1 bit a number (Gao and Long 2024), re-scored from Parquet
    RaBitQ/2, RaBitQ/4              48, 32   the same of the first D / 2 or D / 4 principal components

plus 4 D bytes for each of the 4 sqrt(N) centroids. Everything is memory-mapped, so an index that does not fit still works, at
the speed of the disk.

Why not PQ: at 200 000 vectors of D = 512 on two cores OPQ128 with 4-bit codes took 219 s to train (RaBitQ: 7 s) and,
re-scored, found 87 % where RaBitQ of the same 91 bytes found 97 % (`docs/decisions.md`). Knows nothing of files.
"""

import math
import re
from dataclasses import dataclass

from ..extract.errors import UsageError

FLAT_BELOW = 100_000  # two cores read so many of D = 512 in 50 ms
HNSW_FROM = 8192  # lists; below, comparing with all centroids is fast enough
DEFAULT_MEMORY = "4GB"
DEFAULT_RECALL = 0.95
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


@dataclass(frozen=True, slots=True)
class Kind:
    """Attributes: name: as `info` shows it.    code: of a vector, in FAISS's factory language.    bytes: per vector.
    exact: whether its scores are those of the stored vectors.    lists: whether vectors lie in inverted lists."""

    name: str
    code: str
    bytes: float
    exact: bool
    lists: bool = True

    def factory(self, count: int) -> str:
        """FAISS's factory string for so many vectors."""
        if not self.lists:
            return self.code
        lists = list_count(count)
        before, _, code = self.code.rpartition("|")
        graph = "_HNSW32" if lists >= HNSW_FROM else ""
        return f"{before + ',' if before else ''}IVF{lists}{graph},{code}"


def kinds(dim: int) -> list[Kind]:
    """All kinds for D = `dim`, the most exact first."""
    out = [
        Kind("Flat", "Flat", 4 * dim, True, lists=False),
        Kind("IVF,fp16", "SQfp16", 2 * dim + 8, True),
        Kind("IVF,RaBitQ4", "RaBitQ4", dim / 2 + 28, False),
        Kind("IVF,RaBitQ", "RaBitQ", dim / 8 + 16, False),
    ]
    for part in (2, 4):
        kept = dim // part // 8 * 8
        if kept >= 64:
            out.append(Kind(f"PCA{kept},IVF,RaBitQ", f"PCA{kept}|RaBitQ", kept / 8 + 16, False))
    return out


def choose_kind(count: int, dim: int, memory_bytes: float) -> Kind:
    """The most exact kind of which `count` vectors take at most `memory_bytes`; the smallest if none does."""
    exact, *with_lists = kinds(dim)
    if count < FLAT_BELOW:  # too few for lists to pay
        return exact
    fitting = (kind for kind in with_lists if kind.bytes * count + overhead(kind, count, dim) <= memory_bytes)
    return next(fitting, with_lists[-1])


def overhead(kind: Kind, count: int, dim: int) -> float:
    """Bytes besides the vectors: centroids."""
    return 4.0 * dim * list_count(count) if kind.lists else 0.0


def list_count(count: int) -> int:
    """4 sqrt(N), a power of two: 4096 for a million. FAISS's guide says 4 to 16 sqrt(N); more cost more to train."""
    return int(2 ** round(math.log2(max(16.0, 4 * math.sqrt(count)))))


def parse_memory(text: str) -> float:
    """`4GB`, `500 MB`, `2GiB`, `1.5g` in bytes.

    Raises:
        UsageError: another form, or nothing.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?)?B?\s*", text.upper())
    size = float(found[1]) * _UNITS[found[2] or ""] if found else 0.0
    if size <= 0:
        raise UsageError(f"--memory {text!r}: expected a size above nothing, for example 4GB or 500MB.")
    return size


def check_recall(recall: float) -> float:
    """The recall asked for.

    Raises:
        UsageError: it is not above 0 and at most 1.
    """
    if not 0 < recall <= 1:
        raise UsageError(
            f"--recall {recall:g}: expected a share above 0 and at most 1, for example {DEFAULT_RECALL:g}."
        )
    return recall
