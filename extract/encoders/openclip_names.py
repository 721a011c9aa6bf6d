"""Which openclip specs can be meant: names, tags and paths, decided without loading a weight.

open_clip itself warns and goes on with random weights when none are named; here a spec says what it wants.
Importing open_clip for its list of names costs about 3 s, because it imports torch.
"""

from pathlib import Path

from ..errors import UnknownEncoder
from .spec import EncoderSpec, absolute, is_path, nearest
from .weights import CHECKPOINTS, RANDOM

HUB = "hf-hub:"


def check(spec: EncoderSpec) -> EncoderSpec:
    """The spec as it is stored, or `UnknownEncoder` that lists what would be right.

    Paths become absolute, tags take open_clip's own spelling (`laion2b-e16` -> `laion2b_e16`).
    """
    if spec.name is None:
        raise UnknownEncoder(
            f"encoder {str(spec)!r}: no model named; expected openclip:NAME@WEIGHTS. "
            "Write for example 'openclip:PE-Core-B-16@meta'."
        )
    if is_path(spec.name):
        return _check_folder(spec)
    if spec.name.startswith(HUB):
        return spec if spec.weights is None else _refuse_hub_weights(spec)
    import open_clip

    known = open_clip.list_models()
    if spec.name not in known:
        raise UnknownEncoder(
            f"encoder {str(spec)!r}: open_clip has no model {spec.name!r}.{nearest(spec.name, known)} "
            f"Known: {', '.join(known)}."
        )
    tags = sorted(open_clip.list_pretrained_tags_by_model(spec.name))
    if spec.weights is None:
        raise UnknownEncoder(f"encoder {str(spec)!r}: no weights named. {_choices(spec.name, tags)}")
    if is_path(spec.weights) or spec.weights.endswith(CHECKPOINTS):
        return EncoderSpec(spec.family, spec.name, absolute(spec.weights))
    tag = spec.weights.lower().replace("-", "_")
    if tag not in tags and tag != RANDOM:
        raise UnknownEncoder(
            f"encoder {str(spec)!r}: {spec.name} has no weights {spec.weights!r}.{nearest(tag, tags)} "
            f"{_choices(spec.name, tags)}"
        )
    return EncoderSpec(spec.family, spec.name, tag)


def _check_folder(spec: EncoderSpec) -> EncoderSpec:
    folder = absolute(spec.name or "")
    if not Path(folder, "open_clip_config.json").is_file():
        raise UnknownEncoder(
            f"encoder {str(spec)!r}: expected a folder with open_clip_config.json and a checkpoint "
            f"at {folder}; there is no such file. A bare checkpoint needs its model's name: "
            "openclip:NAME@/path/to/file.pt."
        )
    return EncoderSpec(spec.family, folder, None)


def _refuse_hub_weights(spec: EncoderSpec) -> EncoderSpec:
    raise UnknownEncoder(
        f"encoder {str(spec)!r}: a hub repository brings its own weights, got {spec.weights!r} as well. "
        f"Write 'openclip:{spec.name}'."
    )


def _choices(name: str, tags: list[str]) -> str:
    here = f"or a local checkpoint, or 'openclip:{name}@{RANDOM}' for untrained weights."
    if not tags:
        return f"open_clip offers none for {name}; give the path of a checkpoint, {here}"
    return f"Write 'openclip:{name}@{tags[0]}'; known: {', '.join(tags)}; {here}"
