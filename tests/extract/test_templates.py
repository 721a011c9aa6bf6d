"""Templates for short texts: who has some, and what they are."""

from nightreel.extract.encoders.base import templates_of
from nightreel.extract.encoders.conse import ConseEncoder
from nightreel.extract.encoders.openclip import OpenClipEncoder
from nightreel.extract.encoders.toy import ToyEncoder


class Captioned(ToyEncoder):
    templates = ("a {} thing",)


def test_an_encoder_need_not_know_of_templates() -> None:
    assert templates_of(ToyEncoder()) == ("{}",)
    assert templates_of(Captioned()) == ("a {} thing",)
    assert not hasattr(ConseEncoder, "templates")  # its texts are read by a model of sentences, not of captions


def test_openclip_says_words_in_captions_and_as_they_are() -> None:
    assert "{}" in OpenClipEncoder.templates
    assert len(OpenClipEncoder.templates) > 1
    assert all(template.count("{}") == 1 for template in OpenClipEncoder.templates)
