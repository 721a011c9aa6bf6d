"""What the registry knows of an encoder family, built in or somebody else's; see docs/encoders.md for how to write one."""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import UnknownEncoder
from .base import Encoder
from .spec import EncoderSpec


@dataclass(frozen=True, slots=True)
class Model:
    """A model with its usual weights: one entry of `nightreel encoders`.

    Attributes:
        spec: how it is asked for.    features: `clips`, or `frames` with what else it embeds.    dim: D.
        frames, size_px: of one input, T and (height, width).    seconds: of video that one input stands for by default.
        parameters, flops: of what embeds a video; flops for one input, two for a multiplication with its addition; both
            counted by `benchmarks/encoders.py` and held to it by a test. None where nobody counted.
        licence: of these weights.    file: where they lie once they are here, see `weights.is_here`.
    """

    spec: str
    features: str
    dim: int
    frames: int
    size_px: tuple[int, int]
    seconds: float
    parameters: int | None
    flops: int | None
    licence: str
    file: str | None = None

    @property
    def flops_per_s(self) -> float | None:
        """Per second of video, with the default sampling."""
        return None if self.flops is None else self.flops / self.seconds


@dataclass(frozen=True, slots=True)
class Family:
    """A family of encoders.

    Attributes:
        name: what stands before the `:` of a spec.    needs: what to do to have its weights.
        models: those that are listed; others may be loaded too.
        load: (spec, device) -> encoder; `device` is never `auto`.
        check: raises `UnknownEncoder` when the spec cannot be meant; must not load weights. Returns the spec as it is
            stored, so that two spellings of one encoder are one.
        on_device: whether it computes where `device` says; if not, no GPU is asked for.
    """

    name: str
    needs: str
    models: tuple[Model, ...]
    load: Callable[[EncoderSpec, str], Encoder]
    check: Callable[[EncoderSpec], EncoderSpec]
    on_device: bool = True


def check_bare(spec: EncoderSpec) -> EncoderSpec:
    """For families with one model: the family's name and nothing else.

    Raises:
        UnknownEncoder: there is more.
    """
    if spec.name is not None or spec.weights is not None:
        raise UnknownEncoder(
            f"encoder {str(spec)!r}: the family {spec.family!r} has one model and takes no name and no "
            f"weights. Write {spec.family!r}."
        )
    return spec
