"""InfoNCE against open_clip's `ClipLoss`, a plain reference in loops, and examples by hand."""

import math
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from nightreel.extract.errors import UsageError
from nightreel.extract.heads.networks import make_head
from nightreel.finetune import info_nce as public_info_nce
from nightreel.finetune.training.loss import caption_ids, clamped_, false_negatives, info_nce
from torch import Tensor
from torch.nn.functional import normalize

pytestmark = pytest.mark.usefixtures("one_thread")


def pairs(count: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Unit rows in float64."""
    generator = torch.Generator().manual_seed(seed)
    video, text = torch.randn(2, count, dim, generator=generator, dtype=torch.float64)
    return normalize(video, dim=1), normalize(text, dim=1)


def by_hand(video: Tensor, text: Tensor, scale: float, **given: Any) -> float:
    """The definition in loops: for each anchor what is right over what is right and what is wrong."""
    count, false, positives = len(video), given.get("false"), given.get("positives")
    weights = given.get("weights", torch.ones(count))
    total = 0.0
    for anchors, others, hard, turned in (
        (video, text, given.get("hard_text"), False),
        (text, video, given.get("hard_video"), True),
    ):
        for i in range(count):
            right, wrong = [], []
            for j in range(count):
                at = (j, i) if turned else (i, j)
                score = math.exp(scale * float(anchors[i] @ others[j]))
                if i == j or (positives is not None and positives[at]):
                    right.append(score)
                elif false is None or not false[at]:
                    wrong.append(score)
            if hard is not None:
                own = hard if hard.ndim == 2 else hard[i]
                wrong += [math.exp(scale * float(anchors[i] @ row)) for row in own if row.abs().sum() > 0]
            total -= float(weights[i]) * math.log(sum(right) / (sum(right) + sum(wrong)))
    return total / float(weights.sum()) / 2


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 8), st.floats(0.5, 100), st.integers(0, 99))
def test_equals_open_clip_in_value_and_gradient(count: int, dim: int, scale: float, seed: int) -> None:
    from open_clip.loss import ClipLoss

    results = []
    for loss in (public_info_nce, ClipLoss()):
        video, text = (rows.requires_grad_() for rows in pairs(count, dim, seed))
        factor = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
        value = loss(video, text, factor)
        results.append((value, *torch.autograd.grad(value, (video, text, factor))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_two_pairs_by_hand() -> None:
    """Videos at 0 and 90 degrees, texts the same way round: cosines 1 and 0, so each share is e / (e + 1) at factor 1."""
    video = torch.eye(2)
    assert float(info_nce(video, video, 1.0)) == pytest.approx(-math.log(math.e / (math.e + 1)))
    assert float(info_nce(video, video.flip(0), 1.0)) == pytest.approx(-math.log(1 / (math.e + 1)))
    assert float(info_nce(video, video, 100.0)) == pytest.approx(0, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(2, 6), st.integers(0, 99))
def test_masks_positives_hard_negatives_and_weights_as_defined(data: st.DataObject, count: int, seed: int) -> None:
    video, text = pairs(count, 4, seed)
    generator = torch.Generator().manual_seed(seed)

    def mask() -> Tensor:
        return torch.rand(count, count, generator=generator) < 0.4

    def hard() -> Tensor:
        shape = data.draw(st.sampled_from([(3, 4), (count, 2, 4)]))
        rows = normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=-1)
        return rows * (torch.rand(shape[:-1], generator=generator) < 0.7)[..., None]

    every = {
        "false": mask(),
        "positives": mask(),
        "hard_video": hard(),
        "hard_text": hard(),
        "weights": torch.rand(count, generator=generator) + 0.01,
    }
    some = {name: every[name] for name in data.draw(st.sets(st.sampled_from(sorted(every))))}
    assert float(info_nce(video, text, 5.0, **some)) == pytest.approx(by_hand(video, text, 5.0, **some), rel=1e-6)


def test_a_false_negative_gets_no_gradient() -> None:
    """Of three pairs, video 0 and text 2 say the same: neither pushes the other away."""
    video, text = pairs(3, 5)
    false = torch.zeros(3, 3, dtype=torch.bool)
    false[0, 2] = True
    logits = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    # With text = identity the cosines are the videos' own entries, so the gradient of each is seen.
    info_nce(logits, torch.eye(3, dtype=torch.float64), 1.0, false=false).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0, 2] == 0
    assert (logits.grad[~false] != 0).all()
    plain, masked = info_nce(video, text, 3.0), info_nce(video, text, 3.0, false=false)
    assert float(masked) < float(plain)


def test_all_others_false_leaves_nothing_to_learn() -> None:
    video, text = (rows.requires_grad_() for rows in pairs(4, 3))
    value = info_nce(video, text, 20.0, false=torch.ones(4, 4, dtype=torch.bool))
    value.backward()  # type: ignore[no-untyped-call]
    assert float(value.detach()) == 0
    assert video.grad is not None
    assert torch.isfinite(video.grad).all()


def test_weights_of_nothing_leave_a_pair_out_as_an_anchor() -> None:
    video, text = pairs(3, 4)
    got = float(info_nce(video, text, 2.0, weights=torch.tensor([1.0, 0.0, 0.0])))
    of_video = torch.softmax(2 * video[0] @ text.T, 0)[0].log()
    of_text = torch.softmax(2 * text[0] @ video.T, 0)[0].log()
    assert got == pytest.approx(-float(of_video + of_text) / 2)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"text": torch.zeros(2, 3)}, "expected both"),
        ({"video": torch.zeros(0, 3), "text": torch.zeros(0, 3)}, "B above 0"),
        ({"false": torch.zeros(3, 3)}, "expected bool"),
        ({"false": torch.zeros(2, 3, dtype=torch.bool)}, "false"),
        ({"positives": torch.zeros(2, 2, dtype=torch.bool)}, "positives"),
        ({"hard_video": torch.zeros(2, 2, 3)}, "hard negatives"),
        ({"hard_text": torch.zeros(2, 4)}, "the same D"),
        ({"weights": torch.zeros(3)}, "not all 0"),
        ({"weights": torch.tensor([1.0, -1.0, 1.0])}, "at least 0"),
    ],
)
def test_refuses_what_does_not_fit(change: dict[str, Tensor], word: str) -> None:
    arguments: dict[str, Any] = {"video": torch.ones(3, 3), "text": torch.ones(3, 3), **change}
    with pytest.raises(UsageError, match=word):
        info_nce(logit_scale=1.0, **arguments)


def test_the_logit_scale_can_come_down_again() -> None:
    """Above the bound the clamp in the forward pass has no gradient; brought back by `clamped_` it has."""
    head = make_head("mean", 3)
    with torch.no_grad():
        head.logit_scale.fill_(9.0)
    assert head.factor.item() == 100
    head.factor.backward()  # type: ignore[no-untyped-call]
    assert head.logit_scale.grad == 0
    clamped_(head.logit_scale)
    head.logit_scale.grad = None
    head.factor.backward()  # type: ignore[no-untyped-call]
    assert head.logit_scale.grad is not None
    assert float(head.logit_scale.grad) == pytest.approx(100, rel=1e-4)
    with torch.no_grad():
        head.logit_scale.fill_(-1.0)
    clamped_(head.logit_scale)
    assert head.factor.item() == 1


def test_false_negatives_by_hand() -> None:
    video = torch.tensor([7, 7, 3, 4])
    all_of = torch.zeros(4, 4, dtype=torch.bool)
    all_of[0, 1] = all_of[1, 0] = True
    assert torch.equal(false_negatives(video), all_of)
    # Moments [0, 5) and [5, 9) of video 7 only touch; the whole of a video (NaN) overlaps any moment of it.
    apart = torch.tensor([[0.0, 5.0], [5.0, 9.0], [0.0, 5.0], [0.0, 5.0]])
    assert not false_negatives(video, span_s=apart).any()
    whole = torch.tensor([[0.0, 5.0], [torch.nan, torch.nan], [0.0, 5.0], [0.0, 5.0]])
    assert torch.equal(false_negatives(video, span_s=whole), all_of)
    assert torch.equal(false_negatives(torch.arange(4), caption=torch.tensor([1, 1, 2, 3])), all_of)
    vectors = normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.0]]), dim=1)
    assert torch.equal(false_negatives(torch.arange(4), vectors=vectors), all_of)
    assert not false_negatives(torch.arange(4), vectors=vectors, threshold=0.999).any()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(1, 5), st.integers(0, 2)), min_size=1, max_size=7
    )
)
def test_false_negatives_against_loops(rows: list[tuple[int, int, int, int]]) -> None:
    video, start, length, caption = (torch.tensor(column) for column in zip(*rows, strict=True))
    got = false_negatives(video, span_s=torch.stack([start, start + length], 1).double(), caption=caption)
    for i, (v, s, n, c) in enumerate(rows):
        for j, (w, t, m, d) in enumerate(rows):
            moments = {s + k for k in range(n)} & {t + k for k in range(m)}
            assert bool(got[i, j]) == (i != j and ((v == w and bool(moments)) or c == d))


def test_false_negatives_of_other_lengths() -> None:
    with pytest.raises(UsageError, match="span_s"):
        false_negatives(torch.arange(3), span_s=torch.zeros(2, 2))
    with pytest.raises(UsageError, match="caption"):
        false_negatives(torch.arange(3), caption=torch.arange(2))


def test_captions_that_say_the_same() -> None:
    said = [
        "A dog runs.",
        "the  DOG runs",
        "a dog ran",
        "runs a dog",
        "from left to right",
        "from right to left",
        "Straße!",
        "STRASSE",
    ]
    assert caption_ids(said) == [0, 0, 1, 2, 3, 4, 5, 5]
