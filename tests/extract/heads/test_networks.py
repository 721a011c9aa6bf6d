"""Heads: worked examples, masks, and what each must and must not know of order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.heads.networks import KINDS, WtiHead, make_head, mask_of, pooled
from nightreel.extract.heads.tuned import Adapter, Tuned, make_tuned
from torch.nn.functional import normalize

D = 16


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random_head(kind: str, dim: int = D, **more: int) -> torch.nn.Module:
    """With every parameter drawn, as nothing may hide behind those that begin at 0."""
    head = make_head(kind, dim, **more)
    for name, value in head.named_parameters():
        if name != "logit_scale":
            torch.nn.init.normal_(value, std=0.3)
    return head.eval()


def batch(*counts: int, dim: int = D) -> tuple[torch.Tensor, torch.Tensor]:
    mask = mask_of(counts, max(counts))
    return normalize(torch.randn(*mask.shape, dim), dim=-1), mask


def test_the_mean_head_by_hand() -> None:
    frames = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]], [[0.0, -2.0], [5.0, 5.0], [1.0, 1.0]]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    half = 0.5**0.5
    np.testing.assert_allclose(make_head("mean", 2)(frames, mask), [[half, half], [0.0, -1.0]], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_output_is_of_unit_norm_and_blind_to_what_the_mask_hides(kind: str) -> None:
    head = random_head(kind)
    frames, mask = batch(5, 3, 1)
    with torch.no_grad():
        out, tokens = head(frames, mask), head.tokens(frames, mask)
        other = torch.where(mask[..., None], frames, 7.0 * torch.randn_like(frames))
        other[~mask] = torch.nan
        np.testing.assert_allclose(head(other, mask), out, atol=1e-6)
        np.testing.assert_allclose(head.along(other, mask), head.along(frames, mask), atol=1e-6)
    np.testing.assert_allclose(out.norm(dim=-1), 1, atol=1e-5)
    np.testing.assert_allclose(tokens.norm(dim=-1), mask.float(), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_is_as_in_a_batch_and_padding_is_nothing(kind: str) -> None:
    head = random_head(kind)
    frames, mask = batch(6, 2)
    with torch.no_grad():
        alone = head(frames[1:, :2], mask[1:, :2])
        np.testing.assert_allclose(head(frames, mask)[1:], alone, atol=1e-6)


@pytest.mark.parametrize(("kind", "knows"), [("mean", False), ("wti", False), ("lstm", True), ("transformer", True)])
def test_who_knows_order(kind: str, knows: bool) -> None:
    head = random_head(kind)
    frames, mask = batch(8)
    with torch.no_grad():
        moved = (head(frames, mask) - head(frames.flip(1), mask)).abs().max()
    assert bool(moved > 1e-2) is knows


@pytest.mark.parametrize("kind", ["mean", "transformer"])
def test_new_heads_begin_as_the_mean(kind: str) -> None:
    frames, mask = batch(7, 4)
    with torch.no_grad():
        cosine = (make_head(kind, D)(frames, mask) * pooled(frames * mask[..., None], mask)).sum(-1)
    assert float(cosine.min()) > 0.98


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_that_should_learns(kind: str) -> None:
    head = random_head(kind)
    frames, mask = batch(5, 4)
    text = normalize(torch.randn(3, D), dim=-1)
    (head.factor * head.scores(text, frames, mask)).square().sum().backward()
    without = [n for n, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in without if not name.startswith("text_weight_fc")] == []  # one token has weight 1


def test_late_interaction_by_hand() -> None:
    head = make_head("wti", 2)
    for network in (head.video_weight_fc, head.text_weight_fc):
        torch.nn.init.zeros_(network[2].weight)
        torch.nn.init.zeros_(network[2].bias)  # so all weights are equal
    frames = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True, False]])
    words = torch.tensor([[[1.0, 0.0], [0.6, 0.8]]])
    with torch.no_grad():
        # text to video: (1 + .8) / 2; video to text: (max(1, .6) + max(0, .8)) / 2
        got = head.scores(words, frames, mask, torch.ones(1, 2, dtype=torch.bool))
        one = head.scores(words[:, 0], frames, mask)
    np.testing.assert_allclose(got, [[0.9]], atol=1e-6)
    np.testing.assert_allclose(one, [[(1 + (1 + 0) / 2) / 2]], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_late_interaction_is_the_plain_loop(texts: int, frames_count: int, words_count: int, seed: int) -> None:
    torch.manual_seed(seed)
    head = random_head("wti")
    counts = [1 + int(torch.randint(frames_count, ())) for _ in range(2)]
    frames, mask = batch(*counts)
    said = mask_of([1 + int(torch.randint(words_count, ())) for _ in range(texts)], words_count)
    words = normalize(torch.randn(texts, words_count, D), dim=-1)
    with torch.no_grad():
        got = head.scores(words, frames, mask, said)
        for q in range(texts):
            for b in range(2):
                t, v = words[q][said[q]], frames[b][mask[b]]
                both = t @ v.T
                wt = head.text_weight_fc(t).squeeze(-1).softmax(0)
                wv = head.video_weight_fc(v).squeeze(-1).softmax(0)
                plain = ((both.amax(1) * wt).sum() + (both.amax(0) * wv).sum()) / 2
                np.testing.assert_allclose(got[q, b], plain, atol=1e-5)


def test_a_wti_head_pools_neighbours_for_an_archive() -> None:
    head = random_head("wti")
    assert isinstance(head, WtiHead)
    frames, mask = batch(9)
    with torch.no_grad():
        got = head.along(frames, mask)
        np.testing.assert_allclose(got[:, 4], head(frames[:, 2:7], mask[:, 2:7]), atol=1e-6)
        np.testing.assert_allclose(got[:, 0], head(frames[:, :3], mask[:, :3]), atol=1e-6)


def test_the_temperature_is_clamped() -> None:
    head = make_head("mean", 2)
    assert float(head.factor.detach()) == pytest.approx(1 / 0.07)
    head.logit_scale.data.fill_(9.0)
    assert float(head.factor.detach()) == 100.0


@pytest.mark.parametrize(
    ("frames", "mask"), [((2, 3, 5), (2, 3)), ((2, 3, D), (2, 4)), ((2, D), (2, 3)), ((1, 9, D), (1, 9))]
)
def test_other_shapes_and_too_many_frames_are_refused(frames: tuple[int, ...], mask: tuple[int, ...]) -> None:
    head = make_head("lstm", D, max_frames=8)
    with pytest.raises(ValueError, match="expected"):
        head(torch.zeros(frames), torch.ones(mask, dtype=torch.bool))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no head 'gru'; expected one of mean, lstm"):
        make_head("gru", D)


# --- tuned ---------------------------------------------------------------------------------------------------


def test_a_new_adapter_changes_nothing_and_keeps_zeros() -> None:
    tuned = Tuned(make_head("mean", D), Adapter(D), clip_dim=3)
    frames, _ = batch(4)
    frames[0, 2] = 0
    clips = torch.randn(1, 4, 3)
    with torch.no_grad():
        np.testing.assert_allclose(tuned.frames(frames, clips), frames, atol=1e-6)
        np.testing.assert_allclose(tuned.text(frames[0]), frames[0], atol=1e-6)
        tuned.adapter.video.bias.fill_(0.1)
        assert float(tuned.frames(frames)[0, 2].abs().sum()) == 0.0


def test_clips_join_the_frames_they_lie_over() -> None:
    tuned = Tuned(make_head("mean", 2), None, clip_dim=1)
    torch.nn.init.constant_(tuned.join.weight, 1.0)
    frames, clips = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), torch.tensor([[[0.0], [1.0]]])
    got = tuned.frames(frames, clips).detach()
    np.testing.assert_allclose(got, [[[1.0, 0.0], [2 / 5**0.5, 1 / 5**0.5]]], atol=1e-6)


def test_a_mean_after_an_adapter_is_the_adapter_after_a_mean() -> None:
    tuned = Tuned(make_head("mean", D), Adapter(D))
    for value in tuned.adapter.parameters():
        torch.nn.init.normal_(value, std=0.4)
    frames, _ = batch(5)
    mask = torch.tensor([[True, True, True, False, False]])
    with torch.no_grad():
        got = tuned.video(frames, mask)
        mapped = tuned.adapter.video(frames[0, :3].mean(0))
        np.testing.assert_allclose(got[0], mapped, atol=1e-6)
        weights = tuned.weights(frames)[0, :3, None]
        by_weight = (tuned.frames(frames)[0, :3] * weights).sum(0)
        np.testing.assert_allclose(got[0], by_weight / by_weight.norm(), atol=1e-6)
        text = torch.nn.functional.normalize(torch.randn(4, D), dim=-1)
        np.testing.assert_allclose(tuned.scores(text, frames, mask), tuned.text(text) @ got.T, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_have_weights_only_where_a_mean_follows_an_adapter(kind: str) -> None:
    frames, _ = batch(5)
    for adapter in (None, Adapter(D)):
        tuned = Tuned(make_head(kind, D, layers=1, heads=2), adapter)
        assert tuned.weighs == tuned.facts()["weighs"] == (kind == "mean" and adapter is not None)
        np.testing.assert_allclose(tuned.weights(frames).detach(), np.ones((1, 5)), atol=1e-6)  # untrained: as without


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_made_again_from_its_facts(kind: str) -> None:
    head = make_head(kind, D, max_frames=11, layers=2, heads=4, feature_scale=3.0)
    tuned = Tuned(head, Adapter(D), clip_dim=5)
    again = make_tuned(tuned.facts())
    assert again.facts() == tuned.facts()
    again.load_state_dict(tuned.state_dict())
    assert again.head.feature_scale == 3.0
