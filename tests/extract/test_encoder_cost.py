"""What `nightreel encoders` says of size and cost is what counting gives."""

import pytest
import video_models as models
from nightreel.extract.encoders.family import Model
from nightreel.extract.encoders.registry import FAMILIES, load_encoder

cost = models.load_benchmark("encoder_cost")
MODELS = [model for family in FAMILIES.values() for model in family.models]


@pytest.mark.parametrize("model", cost.listed(), ids=lambda model: model.spec)
def test_parameters_and_operations_are_counted(model: Model) -> None:
    assert cost.count(model) == (model.parameters, model.flops)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.spec)
def test_what_is_listed_is_whole(model: Model) -> None:
    assert model.licence
    assert model.seconds > 0
    assert min(model.dim, model.frames, *model.size_px) >= 1
    assert (model.flops is None) == (model.spec in ("toy", "flicker"))


def test_operations_per_second_follow_from_the_sampling() -> None:
    (model,) = FAMILIES["videomae"].models
    assert model.flops == 360_689_172_480
    assert model.flops_per_s == model.flops / 8


def test_listed_numbers_are_those_of_the_encoder() -> None:
    """Of one that can be loaded here."""
    (model,) = FAMILIES["toy"].models
    toy = load_encoder("toy")
    assert (model.dim, model.size_px) == (toy.dim, toy.geometry.size_px)
