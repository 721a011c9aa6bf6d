"""Chunked equals plain: values, gradients, dropout, random numbers afterwards, mixed precision."""

from collections.abc import Sequence

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from nightreel.extract.errors import UsageError
from nightreel.finetune.training.gradcache import backward_cached
from nightreel.finetune.training.loss import info_nce
from torch import Tensor, nn
from torch.nn.functional import normalize

pytestmark = pytest.mark.usefixtures("one_thread")


class Towers(nn.Module):
    """Two small towers with a shared first layer, dropout, and a logit scale."""

    def __init__(self, dropout: float, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(5, 16, dtype=dtype), nn.Linear(16, 4, dtype=dtype)
            self.of_text = nn.Linear(5, 4, dtype=dtype)
            self.data = torch.randn(2, 40, 5, dtype=dtype)
        self.dropout = nn.Dropout(dropout)
        self.logit_scale = nn.Parameter(torch.tensor(1.0, dtype=dtype))
        self.calls: list[int] = []

    def encode(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        self.calls.append(len(rows))
        at = torch.as_tensor(rows)
        video = self.second(self.dropout(self.first(self.data[0, at]).relu()))
        return normalize(video, dim=1), normalize(self.of_text(self.dropout(self.data[1, at])), dim=1)

    def loss(self, video: Tensor, text: Tensor) -> Tensor:
        return info_nce(video, text, self.logit_scale.exp())

    def gradients(self) -> dict[str, Tensor]:
        return {name: p.grad.clone() for name, p in self.named_parameters() if p.grad is not None}


def plain(towers: Towers, rows: Sequence[int], chunk: int) -> Tensor:
    """The same loss with all activations kept; in chunks only so that dropout draws the same numbers."""
    parts = [towers.encode(rows[low : low + chunk]) for low in range(0, len(rows), chunk)]
    value = towers.loss(*(torch.cat(part) for part in zip(*parts, strict=True)))
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


def close(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    assert set(got) == set(expected) == {name for name, _ in Towers(0).named_parameters()}
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=tolerance, atol=tolerance)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 45), st.sampled_from([0.0, 0.4]), st.integers(0, 9))
def test_chunked_equals_plain(count: int, chunk: int, dropout: float, seed: int) -> None:
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(seed))[:count].tolist()
    ours, theirs = Towers(dropout), Towers(dropout)
    torch.manual_seed(seed)
    value = backward_cached(ours.encode, rows, ours.loss, chunk)
    after = torch.rand(1)
    torch.manual_seed(seed)
    expected = plain(theirs, rows, chunk)
    assert not value.requires_grad
    torch.testing.assert_close(value, expected)
    close(ours.gradients(), theirs.gradients())
    assert torch.equal(after, torch.rand(1))  # what is drawn next does not depend on the second pass


def test_without_dropout_equal_to_one_pass_over_everything() -> None:
    ours, theirs = Towers(0), Towers(0)
    backward_cached(ours.encode, range(23), ours.loss, 5)
    plain(theirs, range(23), 23)
    close(ours.gradients(), theirs.gradients())
    assert ours.calls == [5, 5, 5, 5, 3] * 2


def test_gradients_add_to_what_is_there() -> None:
    ours, theirs = Towers(0), Towers(0)
    backward_cached(ours.encode, range(9), ours.loss, 4)
    backward_cached(ours.encode, range(9, 20), ours.loss, 4)
    plain(theirs, range(9), 9)
    plain(theirs, range(9, 20), 11)
    close(ours.gradients(), theirs.gradients())


def test_under_autocast_weights_get_their_gradients() -> None:
    """Autocast keeps what it cast without gradient; used again in the second pass, no weight would learn."""
    ours, theirs = Towers(0.2, torch.float32), Towers(0.2, torch.float32)
    for towers, train in ((ours, backward_cached), (theirs, None)):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            if train is None:
                plain(towers, range(20), 6)
            else:
                train(towers.encode, range(20), towers.loss, 6)
    close(ours.gradients(), theirs.gradients(), 2e-2)


def test_one_chunk_is_encoded_once() -> None:
    towers = Towers(0)
    backward_cached(towers.encode, range(7), towers.loss, 7)
    assert towers.calls == [7]


@pytest.mark.gpu
def test_dropout_on_cuda_is_the_same_in_both_passes() -> None:
    ours, theirs = Towers(0.4).cuda(), Towers(0.4).cuda()
    for towers in (ours, theirs):
        towers.data = towers.data.cuda()
    torch.manual_seed(5)
    backward_cached(ours.encode, range(31), ours.loss, 8)
    torch.manual_seed(5)
    plain(theirs, range(31), 8)
    close(ours.gradients(), theirs.gradients(), 1e-9)


@pytest.mark.parametrize(("rows", "chunk"), [(range(3), 0), (range(0), 4)])
def test_nothing_to_do_is_refused(rows: range, chunk: int) -> None:
    towers = Towers(0)
    with pytest.raises(UsageError, match="at least 1"):
        backward_cached(towers.encode, rows, towers.loss, chunk)


def test_an_embedding_that_the_loss_does_not_use_is_refused() -> None:
    towers = Towers(0)
    with pytest.raises(UsageError, match="does not use all"):
        backward_cached(towers.encode, range(6), lambda video, text: video.sum(), 2)
