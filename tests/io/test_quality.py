import numpy as np

from crbestim.io import QualityFlag
from crbestim.io._quality import labels_of_targets, mark, no_flags, poorly_determined


def test_flags_are_single_bits_with_a_text_each():
    values = [int(flag) for flag in QualityFlag]
    assert values == [1 << bit for bit in range(len(values))]
    assert max(values) == QualityFlag.POORLY_DETERMINED == poorly_determined(0)  # room above it for the other targets
    assert len({flag.text for flag in QualityFlag}) == len(values)


def test_each_target_has_a_bit_of_its_own():
    labels = labels_of_targets(["m0s", "T1"])
    assert list(labels) == [16, 32]
    assert "T1" in labels[32]
    quality = no_flags(3)
    mark(quality, np.array([True, False, True]), poorly_determined(1))
    mark(quality, np.array([True, False, False]), QualityFlag.OUTSIDE_PRIOR)
    assert quality.tolist() == [33, 0, 32]


def test_flags_together_have_their_texts_together():
    both = QualityFlag.AT_BOUND | QualityFlag.NOT_CONVERGED
    assert both.text == f"{QualityFlag.AT_BOUND.text}; {QualityFlag.NOT_CONVERGED.text}"
