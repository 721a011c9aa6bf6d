"""Readers of the benchmarks' annotation files: a path in, a `Dataset` out, nothing else touched.

    read_dataset("grounding", "charades", Path("charades_sta_test.txt"), durations=Path("Charades_v1_test.csv"))

`READERS` holds one function per task and benchmark. To read another one, write such a function, build on `files.py` (text,
tables, JSON, errors that name the place) and `gather.py`, and add it here. Every docstring says where its format comes from
and what to beware of. Reading is linear: 4900 videos of ActivityNet Captions (19 700 sentences) take 0.2 s, the 200 000
captions of MSR-VTT 1.4 s, the 650 000 rows of Kinetics-700 6 s of one core.
"""

import inspect
from collections.abc import Callable
from pathlib import Path

from ...extract.errors import UsageError
from ..records import Dataset
from .actions import kinetics, listed, ssv2, ucf
from .activitynet import activitynet, activitynet_paragraphs
from .charades import charades
from .didemo import didemo, didemo_paragraphs
from .msrvtt import msrvtt
from .msvd import msvd
from .qvhighlights import qvhighlights
from .tacos import tacos

Reader = Callable[..., Dataset]

READERS: dict[str, dict[str, Reader]] = {
    "retrieval": {
        "msrvtt": msrvtt,
        "msvd": msvd,
        "didemo": didemo_paragraphs,
        "activitynet": activitynet_paragraphs,
    },
    "grounding": {
        "qvhighlights": qvhighlights,
        "charades": charades,
        "activitynet": activitynet,
        "didemo": didemo,
        "tacos": tacos,
    },
    "classification": {"kinetics": kinetics, "ucf": ucf, "ssv2": ssv2, "list": listed},
}


def options_of(task: str, name: str) -> list[str]:
    """The further files that a reader takes: `durations`, `classes`, or none.

    Raises:
        UsageError: no such task or benchmark.
    """
    reader = _reader(task, name)
    kinds = inspect.signature(reader).parameters.values()
    return [parameter.name for parameter in kinds if parameter.kind is inspect.Parameter.KEYWORD_ONLY]


def read_dataset(task: str, name: str, path: Path, **options: Path | None) -> Dataset:
    """The benchmark's records.

    Args:
        task: `retrieval`, `grounding` or `classification`.    name: a key of `READERS[task]`.
        options: the reader's further files (see `options_of`); None counts as not given.

    Raises:
        UsageError: no such task, benchmark or option, or the file is not what the reader takes.
    """
    given = {option: value for option, value in options.items() if value is not None}
    known = options_of(task, name)
    for option in given:
        if option not in known:
            takes = " and ".join(f"--{each}" for each in known) or "no further file"
            raise UsageError(f"--{option} does not go with --dataset {name}; it takes {takes}.")
    return _reader(task, name)(path, **given)


def _reader(task: str, name: str) -> Reader:
    if task not in READERS:
        raise UsageError(f"no such task: {task}; expected one of {', '.join(READERS)}.")
    if name in READERS[task]:
        return READERS[task][name]
    elsewhere = [other for other in READERS if name in READERS[other]]
    hint = f"\n{name} is read for {' and '.join(elsewhere)}." if elsewhere else ""
    raise UsageError(f"no such dataset for {task}: {name}; expected one of {', '.join(READERS[task])}.{hint}")
