"""Specs, names and folder names; nothing here loads a weight."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from nightreel.extract.encoders.registry import (
    ALIASES,
    FAMILIES,
    EncoderSpec,
    families,
    load_encoder,
    parse_spec,
    resolve,
    slug,
)
from nightreel.extract.errors import UnknownEncoder, UsageError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("clip", ("openclip", "PE-Core-B-16", "meta")),
        ("conse", ("conse", None, None)),
        ("openclip:ViT-B-32@laion2b_e16", ("openclip", "ViT-B-32", "laion2b_e16")),
        ("openclip:ViT-B-32@/a@b/c:d.pt", ("openclip", "ViT-B-32", "/a@b/c:d.pt")),
        ("openclip:ViT-B-32@./x.pt", ("openclip", "ViT-B-32", "./x.pt")),
        ("openclip:/a@b/folder", ("openclip", "/a@b/folder", None)),
        ("openclip:hf-hub:timm/PE-Core-B-16", ("openclip", "hf-hub:timm/PE-Core-B-16", None)),
        ("openclip:ViT-B-32", ("openclip", "ViT-B-32", None)),
    ],
)
def test_parse_spec(text: str, parts: tuple[str | None, ...]) -> None:
    spec = parse_spec(text)
    assert spec == EncoderSpec(*parts)  # type: ignore[arg-type]
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "opneclip:ViT-B-32@openai",
            ["'opneclip'", "Did you mean 'openclip'?", "conse", "nightreel encoders"],
        ),
        ("clop", ["'clop'", "Did you mean 'clip'?"]),
        ("", ["Known: openclip"]),
        ("openclip:", ["a part is empty", "openclip:PE-Core-B-16@meta"]),
        ("openclip:ViT-B-32@", ["a part is empty"]),
        ("openclip", ["no model named", "openclip:PE-Core-B-16@meta"]),
        ("conse:x", ["takes no name", "Write 'conse'"]),
        ("toy@random", ["takes no name", "Write 'toy'"]),
        ("openclip:ViT-B32@openai", ["'ViT-B32'", "Did you mean 'ViT-B-32'?", "Known: ", "RN50"]),
        ("openclip:ViT-B-32@opnai", ["'opnai'", "Did you mean 'openai'?", "laion2b_e16"]),
        ("openclip:PE-Core-B-16", ["no weights named", "Write 'openclip:PE-Core-B-16@meta'", "@random"]),
        ("openclip:ViT-S-32", ["no weights named", "open_clip offers none", "@random"]),
        ("openclip:/no/such/folder", ["open_clip_config.json", "/no/such/folder", "openclip:NAME@"]),
        ("openclip:hf-hub:a/b@c", ["brings its own weights", "Write 'openclip:hf-hub:a/b'"]),
    ],
)
def test_unknown_specs_say_what_would_be_right(text: str, said: list[str]) -> None:
    with pytest.raises(UnknownEncoder) as caught:
        resolve(text)
    for words in said:
        assert words in str(caught.value)


def test_resolve_gives_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("clip") == "openclip:PE-Core-B-16@meta"
    assert resolve("openclip:ViT-B-32@laion2b-e16") == "openclip:ViT-B-32@laion2b_e16"
    assert resolve("openclip:ViT-B-32@w.pt") == f"openclip:ViT-B-32@{tmp_path / 'w.pt'}"
    for spec in ("toy", "conse", "openclip:ViT-B-32@random"):
        assert resolve(spec) == spec


def test_slugs_are_plain_where_they_can_be() -> None:
    assert slug("openclip:PE-Core-B-16@meta") == slug("clip") == "openclip-PE-Core-B-16-meta"
    assert slug("conse") == "conse"
    assert slug("openclip:ViT-B-32@/a/b.pt").startswith("openclip-ViT-B-32-a-b.pt-")


def test_slugs_are_unique_and_safe() -> None:
    specs = [
        "openclip:ViT-B-32@/a/b.pt",
        "openclip:ViT-B-32@/a-b.pt",
        "openclip:ViT-B-32@/A/b.pt",
        "openclip:ViT-B-32@./a/b.pt",
        "openclip:/ViT-B-32/a/b.pt",
        "openclip:/ViT-B-32-a-b.pt",
        "openclip:ViT-B-32@../" + "../" * 100,
        "openclip:ViT-B-32@random",
        "openclip:hf-hub:a/b",
        "openclip:hf-hub:a-b",
        "toy",
        "conse",
    ]
    slugs = [slug(spec) for spec in specs]
    assert len({name.lower() for name in slugs}) == len(specs)
    for name in slugs:
        assert len(name) < 100
        assert not set(name) & set('/\\:@<>"|?* ')
        assert not name.startswith(".")


def test_slugs_of_all_pretrained_models_are_unique() -> None:
    import open_clip

    specs = [f"openclip:{name}@{tag}" for name, tag in open_clip.list_pretrained()]
    assert len({slug(spec).lower() for spec in specs}) == len(specs)


def test_every_family_shows_an_example_that_parses() -> None:
    assert list(families()) == list(FAMILIES)
    for spec in itertools.chain(
        (model.spec for family in families().values() for model in family.models), ALIASES.values()
    ):
        assert resolve(spec) == spec


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:99"])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(UsageError, match="--device auto"):
        load_encoder("openclip:ViT-B-32@random", device)


def test_importing_the_registry_imports_no_model_library() -> None:
    code = "import sys, nightreel.extract.encoders.registry; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "open_clip", "timm", "transformers"} & set(out)
