import numpy as np

from crbestim.io import QualityFlag


def test_flags_are_single_bits_of_a_byte_with_a_text_each():
    values = [int(flag) for flag in QualityFlag]
    assert values == [1 << bit for bit in range(len(values))]
    assert max(values) <= np.iinfo(np.uint8).max
    assert len({flag.text for flag in QualityFlag}) == len(values)
