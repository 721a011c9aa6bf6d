"""Tube masks as a property; patches, targets and crops by hand and against transformers' own loss."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.errors import UsageError
from nightreel.finetune.pretraining.tubes import (
    crop_boxes,
    cropped,
    filled_in,
    frames_of,
    hidden_places,
    normalised,
    of_hidden,
    patches_of,
    tube_masks,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@given(
    batch=st.integers(1, 12),
    times=st.integers(1, 8),
    places=st.integers(2, 196),
    ratio=st.floats(0.05, 0.99),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=150, deadline=None)
def test_masks_have_the_exact_ratio_and_are_tubes(batch: int, times: int, places: int, ratio: float, seed: int) -> None:
    hidden = int(ratio * places)
    if not 0 < hidden < places:
        with pytest.raises(UsageError, match="at least one hidden and one seen"):
            tube_masks(batch, times, places, ratio, [seed])
        return
    masks = tube_masks(batch, times, places, ratio, [seed])
    assert masks.shape == (batch, times * places)
    assert masks.dtype == np.bool_
    by_time = masks.reshape(batch, times, places)
    assert (by_time == by_time[:, :1]).all(), "a place is hidden at all times or at none"
    assert (by_time.sum(axis=2) == hidden).all(), "exactly the ratio, in every frame of every clip"
    assert np.array_equal(masks, tube_masks(batch, times, places, ratio, [seed]))


def test_masks_differ_between_clips_and_seeds_and_hide_every_place_equally_often() -> None:
    masks = tube_masks(2000, 1, 20, 0.9, [1, 2])
    assert len(np.unique(masks, axis=0)) == 190, "all ways to leave 2 of 20"
    assert not np.array_equal(masks, tube_masks(2000, 1, 20, 0.9, [1, 3]))
    # 18 of 20: a share of 0.9 with a standard error of 0.0067.
    np.testing.assert_allclose(masks.mean(axis=0), 0.9, atol=0.03)


@pytest.mark.parametrize(("ratio", "hidden"), [(0.9, 176), (0.95, 186), (0.75, 147)])
def test_hidden_places_are_videomaes_own(ratio: float, hidden: int) -> None:
    assert hidden_places(196, ratio) == hidden  # int(ratio * 14 * 14), as its masking generator counts


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_ratio_that_is_none_is_refused(ratio: float) -> None:
    with pytest.raises(UsageError, match=r"--mask .*expected"):
        hidden_places(196, ratio)


def test_patches_by_hand() -> None:
    """Two frames of 2 x 4 pixels in patches of 2: left square first, time before row before column before channel."""
    frames = torch.arange(16.0).reshape(1, 2, 1, 2, 4)
    patches = patches_of(frames, 2, 2)
    assert patches.shape == (1, 2, 8, 1)
    assert patches[0, 0, :, 0].tolist() == [0, 1, 4, 5, 8, 9, 12, 13]
    assert patches[0, 1, :, 0].tolist() == [2, 3, 6, 7, 10, 11, 14, 15]


@given(batch=st.integers(1, 3), times=st.integers(1, 3), tubelet=st.integers(1, 3), rows=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_frames_of_undoes_patches_of(batch: int, times: int, tubelet: int, rows: int) -> None:
    frames = torch.randn(batch, times * tubelet, 3, 4 * rows, 8)
    patches = patches_of(frames, tubelet, 4)
    assert torch.equal(frames_of(patches, times, (4 * rows, 8), tubelet, 4), frames)


def small_model(**changes: Any) -> Any:
    from transformers import VideoMAEConfig, VideoMAEForPreTraining

    torch.manual_seed(0)
    sizes = {"image_size": 32, "patch_size": 8, "num_frames": 4, "hidden_size": 32, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2, "intermediate_size": 64, "decoder_hidden_size": 16, "use_mean_pooling": False}
    sizes |= {"decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 32}
    return VideoMAEForPreTraining(VideoMAEConfig(**{**sizes, **changes}))


def test_the_loss_is_transformers_own() -> None:
    model = small_model()
    torch.nn.init.normal_(model.decoder.head.weight, std=0.5)  # so that it matters which number is compared with which
    pixels = torch.rand(3, 4, 3, 32, 32)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    masks = torch.from_numpy(tube_masks(3, 2, 16, 0.8, [5]))
    with torch.no_grad():
        said = model((pixels - mean) / std, bool_masked_pos=masks)
    targets, _, _ = normalised(patches_of(pixels, 2, 8))
    ours = torch.nn.functional.mse_loss(said.logits, of_hidden(targets, masks))
    torch.testing.assert_close(ours, said.loss, rtol=1e-5, atol=0)
    # Another order of numbers within a patch, or of patches, would be another loss.
    wrong = of_hidden(targets.flip(2), masks)
    assert (
        abs(float(torch.nn.functional.mse_loss(said.logits, wrong) - said.loss)) > 1e-3
    )  # 20 times the tolerance above


def test_targets_have_mean_0_and_deviation_1_and_flat_patches_are_0() -> None:
    patches = torch.rand(2, 5, 32, 3)
    patches[1, 4] = 0.25
    targets, mean, deviation = normalised(patches)
    torch.testing.assert_close(targets.mean(dim=2), torch.zeros(2, 5, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(targets[0].std(dim=1), torch.ones(5, 3), atol=1e-3, rtol=0)
    assert not targets[1, 4].any()
    torch.testing.assert_close(targets * deviation + mean, patches)


def test_filled_in_keeps_what_was_seen_and_says_the_truth_where_the_network_does() -> None:
    patches = torch.rand(2, 6, 8, 3)
    masks = torch.zeros(2, 6, dtype=torch.bool)
    masks[0, [1, 4]] = masks[1, [0, 5]] = True
    truth = of_hidden(normalised(patches)[0], masks)
    torch.testing.assert_close(filled_in(patches, truth, masks), patches)
    blank = filled_in(patches, torch.zeros_like(truth), masks)
    assert torch.equal(blank[~masks], patches[~masks])
    torch.testing.assert_close(blank[masks], patches.mean(dim=2, keepdim=True).expand_as(patches)[masks])


def test_a_crop_of_the_whole_is_the_picture_and_a_quarter_is_that_quarter() -> None:
    frames = torch.rand(2, 3, 3, 16, 16)
    same = cropped(frames, torch.tensor([[0.0, 0.0, 1.0]] * 2))
    torch.testing.assert_close(same, frames, atol=1e-5, rtol=0)
    flat = torch.zeros(1, 2, 1, 16, 16)
    flat[..., :8, 8:] = 5.0  # above right
    inner = cropped(flat, torch.tensor([[0.0, 0.5, 0.5]]))
    assert (inner[..., :15, 1:] > 4.9).all()
    assert not cropped(flat, torch.tensor([[0.5, 0.0, 0.5]]))[..., 1:, :15].any()


def test_a_crop_is_the_same_in_all_frames_of_a_clip() -> None:
    still = torch.rand(2, 1, 3, 16, 16).expand(2, 4, 3, 16, 16)
    out = cropped(still, torch.from_numpy(crop_boxes(2, (0.66,), [3])))
    assert torch.equal(out[:, :1].expand_as(out), out)
    assert not torch.allclose(out, still)


@given(batch=st.integers(1, 20), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_boxes_lie_within_the_picture(batch: int, seed: int) -> None:
    scales = (1.0, 0.875, 0.75, 0.66)
    boxes = crop_boxes(batch, scales, [seed])
    assert boxes.shape == (batch, 3)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= 1 + 1e-6).all()
    assert set(boxes[:, 2].tolist()) <= {float(np.float32(scale)) for scale in scales}
