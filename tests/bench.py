"""Modules of benchmarks/, which is on no path: scripts there import one another as neighbours. Loaded by `conftest.py`."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

FOLDER = str(Path(__file__).resolve().parents[1] / "benchmarks")


def benchmark(name: str) -> ModuleType:
    """One of them."""
    sys.path.insert(0, FOLDER)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(FOLDER)
