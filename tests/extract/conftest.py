"""The fixtures of `tests/archives.py` (with importlib mode, test folders are not on the path)."""

import importlib.util
import sys
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("archives", Path(__file__).parents[1] / "archives.py")
assert _SPEC is not None
assert _SPEC.loader is not None
if "archives" not in sys.modules:
    sys.modules["archives"] = importlib.util.module_from_spec(_SPEC)
    _SPEC.loader.exec_module(sys.modules["archives"])
archives = sys.modules["archives"]
make_archive, colours = archives.make_archive, archives.colours
