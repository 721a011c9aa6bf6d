"""A probe comes back as it was written, and is refused where its files or the features are others."""

import json
from pathlib import Path

import numpy as np
import pytest
from archives import MadeArchive
from nightreel.extract.errors import Damaged, FingerprintMismatch, UsageError
from nightreel.finetune.probing.linear import Linear, Scaling
from nightreel.finetune.probing.methods import Method, Term, predict
from nightreel.finetune.probing.neighbours import Neighbours
from nightreel.finetune.probing.stored import folder_of, names, read_probe, save_probe

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture
def method() -> Method:
    """A linear part and a k-NN part, both on one stream of D = 4."""
    linear = Linear(Scaling(floats(4), np.abs(floats(4)) + 1), floats(3, 4), floats(3))
    near = Neighbours(floats(6, 4), np.array([0, 1, 2, 0, 1, 2]), 3, k=2, temperature=0.1)
    return Method("both", (Term((0,), 0.25, linear), Term((0,), 0.75, near)), floats(1, 3), floats(1, 3), 50.0, 1.0)


def test_it_says_the_same_when_it_comes_back(colours: MadeArchive, method: Method) -> None:
    folder = save_probe(colours.store, "sport", ["a", "b", "ü"], ["toy"], method, {"metrics": {"top-1": 50.0}})
    assert sorted(path.name for path in folder.iterdir()) == ["probe.json", "probe.safetensors"]
    made = read_probe(colours.store, "sport")
    assert (made.classes, made.slugs, names(colours.store)) == (["a", "b", "ü"], ["toy"], ["sport"])
    x = floats(9, 4)
    np.testing.assert_array_equal(predict(made.terms, [x]), predict(method.terms, [x]))
    assert made.facts["measured"]["metrics"] == {"top-1": 50.0}


def test_a_probe_of_the_same_name_is_replaced(colours: MadeArchive, method: Method) -> None:
    for classes in (["a", "b", "c"], ["x", "y", "z"]):
        save_probe(colours.store, "sport", classes, ["toy"], method, {})
    assert read_probe(colours.store, "sport").classes == ["x", "y", "z"]


def test_numbers_of_another_probe_are_damage(colours: MadeArchive, method: Method) -> None:
    one = save_probe(colours.store, "one", ["a", "b", "c"], ["toy"], method, {})
    two = save_probe(
        colours.store, "two", ["a", "b", "c"], ["toy"], Method("k", method.terms[:1], *[floats(1, 3)] * 2, 0, 0), {}
    )
    (one / "probe.safetensors").write_bytes((two / "probe.safetensors").read_bytes())
    with pytest.raises(Damaged, match="train the probe anew"):
        read_probe(colours.store, "one")
    (two / "probe.json").write_text('{"version": 1}')
    with pytest.raises(Damaged, match="train the probe anew"):
        read_probe(colours.store, "two")


def test_features_of_other_weights_are_refused(colours: MadeArchive, method: Method) -> None:
    save_probe(colours.store, "sport", ["a", "b", "c"], ["toy"], method, {})
    path: Path = colours.root / "features" / "toy" / "encoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "weights_sha256": "other"}))
    with pytest.raises(FingerprintMismatch, match="probe sport"):
        read_probe(colours.store, "sport")


def test_names(colours: MadeArchive) -> None:
    with pytest.raises(UsageError, match="no probe 'sport'; it has: none yet"):
        read_probe(colours.store, "sport")
    for name in ("", "../x", "a/b", ".hidden", "a" * 65):
        with pytest.raises(UsageError, match="expected a name of letters"):
            folder_of(colours.store, name)
