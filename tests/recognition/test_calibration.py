"""How sure a recogniser is."""

from __future__ import annotations

import pytest
import torch

from kinemask.recognition.calibration import calibrate


@pytest.mark.parametrize("count", [5, 24, 400])
def test_clips_that_are_all_right_do_not_make_it_certain(count):
    labels = torch.arange(count) % 3
    left_out = 2.0 * torch.nn.functional.one_hot(labels, 3) - 1
    found = (left_out / calibrate(left_out, labels)[0]).softmax(1).amax(1).mean().item()
    assert 1 - found == pytest.approx(1 / (count + 1), rel=0.7)


def test_with_many_clips_it_is_as_sure_as_it_is_right():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(5000, 4, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    assert calibrate(logits * 5, labels)[0] == pytest.approx(5, rel=0.05)
