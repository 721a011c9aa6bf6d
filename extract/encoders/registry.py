"""Every encoder family in one visible dict, and the way from a spec to a loaded encoder.

A spec is `family:name@weights`; `conse` and `toy` need no more than the family. It imports no model library:
a family imports what it needs when `load_encoder` calls its factory, so importing this file takes 3 ms beside
numpy.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import UnknownEncoder, UsageError
from .base import Encoder, FamilyInfo
from .spec import EncoderSpec, is_path, nearest


@dataclass(frozen=True, slots=True)
class Family:
    """What the registry knows of a family.

    Attributes:
        info: the line `nightreel encoders` prints.
        load: (spec, device) -> encoder; `device` is never `auto`.
        check: raises `UnknownEncoder` when the spec cannot be meant; must not load weights. Returns the spec
            as
            it is stored, so that two spellings of one encoder are one.
    """

    info: FamilyInfo
    load: Callable[[EncoderSpec, str], Encoder]
    check: Callable[[EncoderSpec], EncoderSpec]


def _check_bare(spec: EncoderSpec) -> EncoderSpec:
    if spec.name is not None or spec.weights is not None:
        raise UnknownEncoder(
            f"encoder {str(spec)!r}: the family {spec.family!r} has one model and takes no name and no "
            f"weights. Write {spec.family!r}."
        )
    return spec


def _check_openclip(spec: EncoderSpec) -> EncoderSpec:
    from .openclip_names import check

    return check(spec)


def _load_openclip(spec: EncoderSpec, device: str) -> Encoder:
    from .openclip import load

    return load(spec, device)


def _load_conse(spec: EncoderSpec, device: str) -> Encoder:
    from .conse import load

    return load(str(spec), device)


def _load_toy(spec: EncoderSpec, device: str) -> Encoder:
    from .toy import ToyEncoder

    return ToyEncoder()


FAMILIES: dict[str, Family] = {
    "openclip": Family(
        FamilyInfo(
            "openclip",
            "openclip:PE-Core-B-16@meta",
            "frames, text, images",
            "of the weights; PE-Core: Apache-2.0",
            "a download at first use, or @/local/path",
        ),
        _load_openclip,
        _check_openclip,
    ),
    "conse": Family(
        FamilyInfo("conse", "conse", "frames, text", "Apache-2.0", "pip install 'nightreel[offline]'"),
        _load_conse,
        _check_bare,
    ),
    "toy": Family(
        FamilyInfo("toy", "toy", "frames, text", "Apache-2.0", "nothing"),
        _load_toy,
        _check_bare,
    ),
}

ALIASES: dict[str, str] = {"clip": "openclip:PE-Core-B-16@meta"}


def families() -> list[FamilyInfo]:
    """What `nightreel encoders` lists."""
    return [family.info for family in FAMILIES.values()]


def parse_spec(text: str) -> EncoderSpec:
    """Take a spec apart; aliases resolved, nothing looked up.

        clip                            -> openclip, PE-Core-B-16, meta
        openclip:ViT-B-32@laion2b_e16   -> openclip, ViT-B-32, laion2b_e16
        openclip:ViT-B-32@/a@b/c:d.pt   -> openclip, ViT-B-32, /a@b/c:d.pt
        openclip:/a@b/folder            -> openclip, /a@b/folder, None
        conse                           -> conse, None, None

    The first `:` ends the family; the first `@` after it ends the name, unless the name is itself a path (it
    starts with `/`, `.` or `~`), which then keeps all that follows.
    """
    text = ALIASES.get(text, text)
    family = re.split("[:@]", text, maxsplit=1)[0]
    if family not in FAMILIES:
        raise _unknown_family(text, family)
    mark, rest = text[len(family) : len(family) + 1], text[len(family) + 1 :]
    if mark != ":":
        return EncoderSpec(family, None, rest if mark else None)
    if is_path(rest):
        return EncoderSpec(family, rest, None)
    name, at, weights = rest.partition("@")
    if not name or (at and not weights):
        raise UnknownEncoder(
            f"encoder {text!r}: a part is empty; expected family:name or family:name@weights. "
            f"For example {FAMILIES[family].info.example!r}."
        )
    return EncoderSpec(family, name, weights if at else None)


def resolve(spec: str) -> str:
    """The canonical spelling, checked against the known families and names; no weights are touched.

    `clip` -> `openclip:PE-Core-B-16@meta`. Raises `UnknownEncoder`.
    """
    parsed = parse_spec(spec)
    return str(FAMILIES[parsed.family].check(parsed))


def load_encoder(spec: str, device: str = "cpu") -> Encoder:
    """The encoder of a spec, ready to encode.

    Args:
        spec: as the user wrote it.
        device: `auto` (cuda where there is one), `cpu`, `cuda` or `cuda:1`.

    Raises:
        UnknownEncoder: the spec names nothing known.  UsageError: no such device on this machine.
        WeightsUnavailable: known, but its weights cannot be had here and now, or are not what they should be.
    """
    parsed = parse_spec(resolve(spec))
    return FAMILIES[parsed.family].load(parsed, _device(device, needed=parsed.family != "toy"))


def slug(spec: str) -> str:
    """A folder name for a spec: `openclip:PE-Core-B-16@meta` -> `openclip-PE-Core-B-16-meta`, `conse` ->
    `conse`.

    A spec with anything but letters, digits, `_`, `.` and `-` in its parts (a path) also gets eight hex
    digits of its hash, and so does one whose folder name another spec could share; so different specs get
    different folders, on file systems that ignore case too.
    """
    parsed = parse_spec(spec)
    parts = [part for part in (parsed.family, parsed.name, parsed.weights) if part is not None]
    plain = "-".join(re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-.") for part in parts)
    if _is_reversible(parsed):
        return plain
    return f"{plain[-80:].lstrip('-.')}-{hashlib.sha256(str(parsed).encode()).hexdigest()[:8]}"


def _is_reversible(spec: EncoderSpec) -> bool:
    """Whether the joined parts can be told apart again: a name and plain weights (a tag has no `-`)."""
    if spec.name is None:
        return spec.weights is None
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", spec.name):
        return False
    return spec.weights is not None and re.fullmatch(r"[a-z0-9_]+", spec.weights) is not None


def _unknown_family(text: str, family: str) -> UnknownEncoder:
    known = [*FAMILIES, *ALIASES]
    return UnknownEncoder(
        f"encoder {text!r}: no family or alias {family!r}. Known: {', '.join(known)}."
        f"{nearest(family, known)} `nightreel encoders` lists them all."
    )


def _device(device: str, *, needed: bool) -> str:
    if not needed or device == "cpu":
        return "cpu"
    if device != "auto" and not re.fullmatch(r"cuda(:\d+)?", device):
        raise UsageError(f"device {device!r}: expected auto, cpu, cuda or cuda:N. Write --device auto.")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if count else "cpu"
    if int(device.partition(":")[2] or 0) >= count:
        raise UsageError(f"device {device!r}: this machine has {count} CUDA device(s). Write --device auto or cpu.")
    return device
