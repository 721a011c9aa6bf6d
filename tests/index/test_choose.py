"""Which of an archive's encoders a command means."""

from collections.abc import Callable
from typing import Any

import pytest
from nightreel.extract.errors import UsageError
from nightreel.index.choose import choose_encoder

MakeArchive = Callable[..., Any]


def test_the_encoder_to_search_is_chosen_or_asked_for(colours: Any, make_archive: MakeArchive) -> None:
    assert choose_encoder(colours.store) == "toy"
    silent = make_archive("silent", has_text=False)
    silent.add("red.mp4", ["red"])
    colours.store.refresh()
    assert choose_encoder(colours.store) == "toy"  # the only one that knows text
    assert choose_encoder(colours.store, "silent") == "silent"
    make_archive("second", pooling="other").add("red.mp4", ["red"])
    colours.store.refresh()
    with pytest.raises(UsageError, match=r"choose one with --encoder: second, toy"):
        choose_encoder(colours.store)
    with pytest.raises(UsageError, match="no features of encoder 'clip'; it has: second, silent, toy"):
        choose_encoder(colours.store, "clip")


def test_an_archive_without_features_says_how_to_get_some(make_archive: MakeArchive) -> None:
    with pytest.raises(UsageError, match="nightreel failures") as caught:
        choose_encoder(make_archive().store)
    assert "nightreel extract" in str(caught.value)
