from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crbestim.io._names import SUFFIXES, prefix_of, stem_of

WORD = st.text("abcXYZ019", min_size=1, max_size=6).filter(lambda word: word != "coefficients")
ENTITY = st.builds("{}-{}".format, WORD, WORD)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("sub-01_acq-mt_coefficients.nii.gz", "sub-01_acq-mt_"),
        ("sub-01_acq-mt_bold.nii", "sub-01_acq-mt_"),
        ("sub-01.nii", "sub-01_"),
        ("brain.cfl", "brain_"),
        ("brain_2.hdr", "brain_2_"),
        ("coefficients.nii.gz", ""),
        ("left_coefficients.zarr", "left_"),
        ("v1.2_brain.nii", "v1.2_brain_"),
        ("brain.txt", "brain_"),
    ],
)
def test_prefix_of_examples(name, prefix):
    assert prefix_of(Path("somewhere", name)) == prefix


@given(entities=st.lists(ENTITY, min_size=1, max_size=4), last=WORD, suffix=st.sampled_from(SUFFIXES))
def test_prefix_keeps_entities_and_drops_the_kind_of_image(entities, last, suffix):
    name = "_".join([*entities, last]) + suffix
    assert prefix_of(Path(name)) == "_".join(entities) + "_"
    assert stem_of(Path(name)) + suffix == name


@given(words=st.lists(WORD, min_size=1, max_size=3), suffix=st.sampled_from(SUFFIXES))
def test_name_without_entities_is_kept(words, suffix):
    assert prefix_of(Path("_".join(words) + suffix)) == "_".join(words) + "_"
