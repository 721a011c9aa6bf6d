"""Fingerprints: equal ones share a table, others are refused with both values and the remedy."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from nightreel.extract.errors import Damaged, FingerprintMismatch
from nightreel.extract.fingerprint import FILE_NAME, MODEL_KEYS, ROW_KEYS, differences, read_fingerprint, require_same
from nightreel.extract.store import Store
from nightreel.extract.writer import claim_encoder

BASE: dict[str, Any] = {
    "spec": "toy",
    "weights_sha256": "aa",
    "dim": 4,
    "size_px": [224, 224],
    "preprocessing": {"mean": 0.5},
    "pooling": "mean",
    "sampling": {"fps": 1.0},
    "labels": None,
    "libraries": {"numpy": "2"},
}
OTHER: dict[str, Any] = {
    "labels": 5,
    "weights_sha256": "bb",
    "dim": 5,
    "size_px": [336, 336],
    "preprocessing": {"mean": 0.4},
    "pooling": "attention",
    "sampling": {"fps": 2.0},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "a.reel", created_by="tests")


@pytest.mark.parametrize("key", ROW_KEYS)
def test_every_key_that_decides_rows_is_refused_with_both_values_and_the_remedy(store: Store, key: str) -> None:
    claim_encoder(store, "toy", BASE)
    with pytest.raises(FingerprintMismatch) as caught:
        claim_encoder(store, "toy", {**BASE, key: OTHER[key]})
    message = str(caught.value)
    assert f"{key}: archive has {json.dumps(BASE[key])}, this run has {json.dumps(OTHER[key])}" in message
    assert "new --archive" in message
    assert caught.value.exit_code == 4
    assert read_fingerprint(store.root / "features" / "toy") == BASE


def test_library_versions_and_tuples_do_not_matter(store: Store) -> None:
    claim_encoder(store, "toy", BASE)
    claim_encoder(store, "toy", {**BASE, "size_px": (224, 224), "libraries": {"numpy": "3"}})
    assert store.encoders() == {"toy": BASE}


def test_sampling_matters_to_rows_and_not_to_queries() -> None:
    current = {**BASE, "sampling": OTHER["sampling"]}
    assert differences(BASE, current, MODEL_KEYS) == []
    assert len(differences(BASE, current, ROW_KEYS)) == 1
    with pytest.raises(FingerprintMismatch, match="the index has"):
        require_same(BASE, current, ROW_KEYS, remedy="", other="the index")


def test_long_values_are_shortened() -> None:
    (line,) = differences(BASE, {**BASE, "preprocessing": "x" * 5000}, MODEL_KEYS)
    assert len(line) < 300


def test_of_two_that_claim_at_once_one_wins_and_the_other_is_refused(store: Store) -> None:
    ready, outcomes = threading.Barrier(8), []

    def claim(weights: str) -> None:
        ready.wait()
        try:
            claim_encoder(store, "toy", {**BASE, "weights_sha256": weights})
            outcomes.append((weights, "claimed"))
        except FingerprintMismatch:
            outcomes.append((weights, "refused"))

    threads = [threading.Thread(target=claim, args=(weights,)) for weights in "abababab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = store.encoders()["toy"]["weights_sha256"]
    assert sorted(outcomes) == sorted((w, "claimed" if w == winner else "refused") for w in "abababab")
    assert [path.name for path in (store.root / "features" / "toy").iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"spec": "toy"}', '{"spec": "toy", "dim": 0}', '{"dim": 4}'])
def test_a_fingerprint_that_says_too_little_is_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / FILE_NAME).write_text(text)
    with pytest.raises(Damaged, match=f"toy/{FILE_NAME} cannot be read") as caught:
        read_fingerprint(tmp_path / "toy")
    assert "Restore it" in str(caught.value)
