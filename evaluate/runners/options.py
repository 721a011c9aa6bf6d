"""What the three `nightreel evaluate` commands share: which of their two ways was meant, files in, one result out.

from_files(given, ...)       scores and predictions of any method, or an archive
read_records(task, ...)      the benchmark's records, or some of them
load_array, load_positives   numpy files (no pickles) and JSON lists
described(task, ...)         the result: what was measured on, figures rounded to four digits
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...extract.errors import UsageError
from ..readers import read_dataset
from ..readers.files import read_names
from ..records import Dataset
from ..retrieval import Positives

DIGITS = 4


def from_files(files: Mapping[str, Any], archive: Mapping[str, Any], more: Mapping[str, Any]) -> bool:
    """Whether files of any method were named (else an archive); option -> its value or None.

    Args:
        files, archive: the options that each way needs, all of them.    more: options that go with an archive only.

    Raises:
        UsageError: neither, both, or not all that is needed.
    """
    ways = {True: files, False: archive}
    named = [way for way in ways if any(value is not None for value in ways[way].values())]
    forms = f"either {' '.join(archive)}\nor {' '.join(files)}"
    if len(named) != 1:
        got = [option for way in named for option, value in ways[way].items() if value is not None]
        raise UsageError(f"got {' and '.join(got) or 'neither an archive nor files'}; expected {forms}")
    lacking = [option for option, value in ways[named[0]].items() if value is None]
    if lacking:
        raise UsageError(f"{' and '.join(lacking)} not given; expected {forms}")
    surplus = [option for option, value in more.items() if value is not None and value is not False]
    if named[0] and surplus:
        raise UsageError(f"{' and '.join(surplus)} go with --archive only; leave them out")
    return named[0]


def read_records(
    task: str, name: str, path: Path, *, split: str | None = None, videos: Path | None = None, **files: Path | None
) -> Dataset:
    """A benchmark's records, of one split or of a list of videos where that is asked.

    Raises:
        UsageError: as `read_dataset`, no such split, or no such videos.
    """
    dataset = read_dataset(task, name, path, **files)
    if split is not None:
        dataset = dataset.only(split)
    return dataset if videos is None else dataset.of_videos(read_names(videos))


def load_array(path: Path) -> npt.NDArray[Any]:
    """The array of a `.npy` file.

    Raises:
        UsageError: no such file, or another kind of file; pickled objects are not loaded.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UsageError(f"no such file: {path}; expected an array that numpy.save wrote") from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}); expected an array that numpy.save wrote"
        ) from error
    except (ValueError, EOFError) as error:
        why = "" if "pickle" in str(error) else f" ({error})"  # numpy takes any other file for one
        raise UsageError(f"{path} is not a numpy array of numbers{why}; write it with numpy.save") from error
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{path} holds several arrays (.npz); expected one, as numpy.save writes it")
    return array


def load_positives(path: Path) -> Positives:
    """What is right, as `retrieval_metrics` takes it, from .npy or .json.

    Raises:
        UsageError: neither, or JSON that is not a list.
    """
    if path.suffix != ".json":
        return load_array(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"no such file: {path}; expected a JSON list with the right column(s) of each row") from error
    except ValueError as error:
        raise UsageError(
            f"{path} is not JSON ({error}); expected a list with the right column(s) of each row"
        ) from error
    if not isinstance(value, list):
        raise UsageError(
            f"{path} is a JSON {type(value).__name__}; expected a list with the right column(s) of each row"
        )
    return value


def described(
    task: str, figures: Mapping[str, Any], *, on: Path, dataset: Dataset | None = None, split: str | None = None
) -> dict[str, Any]:
    """The result of an evaluation: what it was measured on, then its figures, rounded.

    Args:
        on: the archive, or the file of scores or predictions.
    """
    name = None if dataset is None else dataset.name
    sources = [] if dataset is None else [str(source) for source in dataset.sources]
    rounded: dict[str, Any] = _rounded(figures)
    return {"task": task, "dataset": name, "split": split, "on": str(on), **rounded, "sources": sources}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value
