"""The confusion picture: rows of the true classes, whole or not at all, the same bytes for the same input."""

from pathlib import Path

import numpy as np
import pytest
from nightreel.extract.errors import UsageError
from nightreel.finetune.probing.picture import draw_confusion, shares_of
from PIL import Image


def grey(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"), np.int64)


def test_rows_are_shares_of_the_true_class() -> None:
    np.testing.assert_allclose(shares_of(np.array([[3, 1], [0, 0]])), [[0.75, 0.25], [0, 0]])


def test_a_mistake_is_seen_where_it_is(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.png", tmp_path / "wrong.png"
    draw_confusion(right, np.array([[9, 0], [0, 9]]), ["a", "b"], "t")
    draw_confusion(wrong, np.array([[9, 0], [9, 0]]), ["a", "b"], "t")
    before, after = (grey(path) for path in (right, wrong))
    changed = np.argwhere(np.abs(before - after) > 60)
    middle = changed[:, 0].mean()  # only the lower row, that of b
    assert middle > before.shape[0] / 2
    assert len(changed) > 0.1 * before.size


@pytest.mark.parametrize("classes", [2, 12, 30, 400])
def test_any_number_of_classes_and_names_of_any_kind(tmp_path: Path, classes: int) -> None:
    names = [["$x^2$", "電車", "a" * 200, "\u202eevil"][i % 4] + str(i) for i in range(classes)]
    draw_confusion(tmp_path / "c.png", np.eye(classes, dtype=np.int64), names, "a $title$")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (1000, 1000)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw_confusion(tmp_path / name, np.array([[3, 1], [0, 5]]), ["a", "b"], "t")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected .png"):
        draw_confusion(tmp_path / "c.bmp", np.eye(2, dtype=np.int64), ["a", "b"], "t")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        draw_confusion(tmp_path / "file" / "c.png", np.eye(2, dtype=np.int64), ["a", "b"], "t")
