"""The house rules that a reader relies on: imports go one way, and the package list equals the tree."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Who may import whom; a package may always import itself.
ALLOWED = {
    "extract": set(),
    "index": {"extract"},
    "search": {"extract", "index"},
    "evaluate": {"extract", "index", "search"},
    "finetune": {"extract", "index", "search", "evaluate"},
    "demo": {"extract", "index", "search"},
    "commands": {"extract", "index", "search", "evaluate", "finetune", "demo", "report"},
}


def modules() -> list[Path]:
    return [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def imported_packages(path: Path) -> set[str]:
    """Names of the top-level Nightreel packages that a module imports, at any depth of its code."""
    here = ("nightreel", *path.relative_to(ROOT).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            names = [(*base, *(node.module or "").split("."))]
            if not node.module:
                names = [(*base, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        else:
            continue
        found |= {name[1] for name in names if name[0] == "nightreel" and len(name) > 1 and name[1]}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    assert imported_packages(path) <= ALLOWED[own] | {own}


def test_the_check_sees_imports() -> None:
    assert imported_packages(ROOT / "search" / "archive.py") == {"extract", "index", "search"}


def test_package_list_equals_the_tree() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {path.parent.relative_to(ROOT) for package in ALLOWED for path in (ROOT / package).rglob("__init__.py")}
    assert listed == {"nightreel"} | {".".join(("nightreel", *folder.parts)) for folder in folders}


def test_every_folder_with_code_is_a_package() -> None:
    for path in modules():
        assert (path.parent / "__init__.py").exists(), path


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from nightreel.cli import app; import typer.testing as t; "
        "assert t.CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print(sorted({'torch','faiss','transformers','open_clip','av','decord','pyarrow','numpy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names_are_exact_and_load() -> None:
    import nightreel

    assert nightreel.__all__ == sorted(nightreel.__all__)
    for name in nightreel.__all__:
        assert getattr(nightreel, name).__name__ == name
    with pytest.raises(AttributeError, match="public names: Archive"):
        nightreel.Nothing  # noqa: B018


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_files_are_of_a_size_one_can_read(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path
