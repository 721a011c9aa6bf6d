"""Read bits and Exp-Golomb numbers from a few header bytes.

It does not know: codecs. Running off the end raises `IndexError`, which parsers turn into "not understood".
Costs about 1 us per number: headers only, never picture data.
"""

from collections.abc import Iterator


class Bits:
    """A position in some bytes, most significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def u(self, count: int) -> int:
        """The next `count` bits, unsigned."""
        if count > self._left:
            raise IndexError(f"{count} bits wanted, {self._left} left")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def flag(self) -> bool:
        """The next bit."""
        return bool(self.u(1))

    def ue(self) -> int:
        """An unsigned Exp-Golomb number."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 32:
                raise IndexError("no Exp-Golomb number is that long")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """A signed Exp-Golomb number."""
        number = self.ue()
        return (number + 1) // 2 if number % 2 else -(number // 2)


def unescaped(nal: bytes) -> bytes:
    """A NAL unit's payload without the bytes that keep start codes out of it."""
    return nal.replace(b"\0\0\3", b"\0\0")


def sized_units(data: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    """`count` NAL units from `at` on, each behind its length in two bytes, as in `avcC` and `hvcC`; and where they end."""
    units = []
    for _ in range(count):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        units.append(data[at + 2 : end])
        at = end
    return units, at


def start_code_units(data: bytes) -> Iterator[tuple[int, int]]:
    """(begin, end) of each unit of an Annex B or MPEG stream: from behind a `00 00 01` to the next."""
    at = data.find(b"\0\0\1")
    while at >= 0:
        begin, at = at + 3, data.find(b"\0\0\1", at + 3)
        yield begin, at if at >= 0 else len(data)


def nal_units(data: bytes, length_bytes: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of every NAL unit; `length_bytes` 0 for start codes.

    Raises:
        IndexError: lengths that do not add up to the packet.
    """
    if not length_bytes:
        yield from start_code_units(data)
        return
    at, size = 0, len(data)
    while at < size:
        begin = at + length_bytes
        end = begin + int.from_bytes(data[at:begin], "big")
        if begin >= end or end > size:
            raise IndexError("the lengths of the NAL units do not fit the packet")
        yield begin, end
        at = end
