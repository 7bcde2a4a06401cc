"""What training says at its end."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kinemask.recognition.text import without_encoder


@pytest.mark.parametrize(
    "encoder, features, tuned, said",
    [
        (None, ("convolutions",), 0.0, False),
        ("mosaic-small", ("convolutions", "tokens"), 0.0, False),
        ("mosaic-small", ("convolutions",), 0.25, False),
        ("mosaic-small", ("convolutions",), 0.0, True),
    ],
)
def test_it_says_when_an_encoder_that_was_offered_is_not_used(encoder, features, tuned, said):
    made = SimpleNamespace(encoder=encoder, choice_=SimpleNamespace(features=features, tuned=tuned))
    lines = without_encoder(SimpleNamespace(recogniser=made))
    assert [f"the tokens of {encoder} did not help on clips left out, so it does without them"] * said == lines
