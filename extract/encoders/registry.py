"""Every encoder family in one visible dict, and the way from a spec to a loaded encoder.

A spec is `family:name@weights`; `conse` and `toy` need no more than the family. Other packages add families through entry
points (docs/encoders.md). It imports no model library: a family imports what it needs when `load_encoder` calls it.
"""

import hashlib
import re
from importlib.metadata import EntryPoint, entry_points

from ..errors import UnknownEncoder, UsageError
from . import c3d, conse, openclip, raft, timesformer, torchvision_video, toy, twostream, videomae
from .base import Encoder
from .family import Family
from .spec import EncoderSpec, is_path, nearest
from .weights import LOG

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        openclip.FAMILY,
        videomae.FAMILY,
        timesformer.FAMILY,
        torchvision_video.FAMILY,
        c3d.FAMILY,
        raft.FAMILY,
        twostream.FAMILY,
        conse.FAMILY,
        toy.FAMILY,
    )
}
GROUP = "nightreel.encoders"  # entry points of other packages; each is a `Family` under its family's name

ALIASES: dict[str, str] = {"clip": "openclip:PE-Core-B-16@meta", "videomae": f"videomae:{videomae.USUAL}"}


def families() -> dict[str, Family]:
    """By name: those of this package, then those of others that can be loaded; one that cannot is told of on stderr."""
    found = dict(FAMILIES)
    for name in sorted(_plugins()):
        try:
            found[name] = family_of(name)
        except UnknownEncoder as error:
            LOG.warning("%s", error)
    return found


def family_of(name: str) -> Family:
    """The family of this name; one of another package is imported now.

    Raises:
        UnknownEncoder: its package cannot be imported, or gives something else.    KeyError: there is none.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    entry = _plugins()[name]
    try:
        family = entry.load()
        if not isinstance(family, Family) or family.name != name:
            raise TypeError(f"expected a Family named {name!r}, got {family!r:.80}")
    except Exception as error:  # whatever somebody else's module raises
        raise UnknownEncoder(
            f"encoder family {name!r}: {entry.value}, which a package registered under {GROUP!r}, cannot be used: "
            f"{type(error).__name__}: {error}. Mend or remove that package; nothing else is affected."
        ) from error
    return family


def _plugins() -> dict[str, EntryPoint]:
    """Entry points by family name; those of this package's own names do not count."""
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in FAMILIES}


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
    if family not in FAMILIES and family not in _plugins():
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
            f"For example {family_of(family).models[0].spec!r}."
        )
    return EncoderSpec(family, name, weights if at else None)


def resolve(spec: str) -> str:
    """The canonical spelling, checked against the known families and names; no weights are touched.

    `clip` -> `openclip:PE-Core-B-16@meta`. Raises `UnknownEncoder`.
    """
    parsed = parse_spec(spec)
    return str(family_of(parsed.family).check(parsed))


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
    family = family_of(parsed.family)
    return family.load(parsed, torch_device(device, needed=family.on_device))


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
    known = list(dict.fromkeys([*FAMILIES, *_plugins(), *ALIASES]))
    return UnknownEncoder(
        f"encoder {text!r}: no family or alias {family!r}. Known: {', '.join(known)}."
        f"{nearest(family, known)} `nightreel encoders` lists them all."
    )


def torch_device(device: str, *, needed: bool) -> str:
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
