"""What a compressed packet says of itself before anything is decoded: the one value that parsers give and the
planner takes."""

from collections.abc import Callable
from dataclasses import dataclass


class Uncertain(Exception):
    """It is not provable what may be left out; everything must be decoded. The message says why."""


@dataclass(frozen=True, slots=True)
class PacketFacts:
    """What may depend on a packet.

    Attributes:
        reference: others may be predicted from it.
        layer: its temporal layer; it depends on no higher one. A picture that is no reference may still be one for
            higher layers.
        cut: closed random access point: nothing at or after it in decoding order depends on anything before.
        shown: it yields one picture.
        lasting: it carries state that outlives the next cut (new parameter sets): must be decoded.
    """

    reference: bool = True
    layer: int = 0
    cut: bool = False
    shown: bool = True
    lasting: bool = False


# Bytes of a packet to its facts. Stateful, so every packet must pass, in order. Raises `Uncertain`, or `IndexError` for
# headers that end too early.
Parse = Callable[[memoryview], PacketFacts]
