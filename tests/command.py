"""The command line in this process. Loaded by `conftest.py`."""

import contextlib
import io
import json
import sys
from typing import Any, NamedTuple

from nightreel.cli import main


class Done(NamedTuple):
    """What a finished command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        lines = self.out.strip().splitlines()
        assert len(lines) == 1, f"--json prints exactly one object, got {len(lines)} lines"
        return dict(json.loads(lines[0]))


def nightreel(*words: object) -> Done:
    """The command in this process: what `main` does, without a second for starting Python each time."""
    out, err = io.StringIO(), io.StringIO()
    argv = sys.argv
    sys.argv = ["nightreel", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = argv
    return Done(code, out.getvalue(), err.getvalue())
