"""Small volumes and files of them."""

from functools import partial

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from crbestim import CRBWeightedRegressor, NoiseModel, Pipeline, SVDCompressor
from crbestim.io import Volume
from crbestim.nn import ResidualNetwork

SHAPE = (5, 4, 6)
AFFINE = np.array([[-2.0, 0.1, 0, 30], [0, 1.5, 0.2, -20], [0.1, 0, 3.0, 10], [0, 0, 0, 1]])


@pytest.fixture(scope="session")
def draw_images():
    """A function that draws images of a shape."""

    def draw(shape=(*SHAPE, 3), dtype=np.complex64, seed=0):
        rng = np.random.default_rng(seed)
        dtype = np.dtype(dtype)
        if dtype.kind in "iu":
            return rng.integers(0, 100, shape).astype(dtype)
        values = rng.standard_normal(shape)
        return (values + 1j * rng.standard_normal(shape) if dtype.kind == "c" else values).astype(dtype)

    return draw


@pytest.fixture(scope="session")
def affine():
    """A place in space, turned and with three sizes of voxels."""
    return AFFINE


@pytest.fixture
def save_nifti():
    """A function that writes an array with nibabel alone."""

    def save(path, values, affine=AFFINE, header=None, kind=nib.Nifti1Image):
        nib.save(kind(values, affine, header), path)
        return path

    return save


@pytest.fixture(scope="session")
def in_memory():
    """A function that makes a volume of an array."""

    def volume(values, affine=None):
        return Volume("memory", values.shape[:3], values.shape[3], values.dtype, affine, None, lambda b: values[b])

    return volume


@pytest.fixture(scope="session")
def files_of():
    """A function that returns the contents of all files of a directory."""

    def contents(directory):
        return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    return contents


@pytest.fixture(scope="session")
def tiny_network():
    """A network for three coefficients of a decay, that was trained for one epoch."""
    rng = np.random.default_rng(0)
    rate, frequency = rng.uniform(3, 30, 200), rng.uniform(-20, 20, 200)
    signals = np.exp((1j * frequency - rate)[:, None] * np.linspace(0.01, 0.3, 24))
    y = pd.DataFrame({"R": rate, "W": frequency})
    network = CRBWeightedRegressor(
        network=partial(ResidualNetwork, width=8, n_blocks=1), noise=NoiseModel(1e-3), max_epochs=1, verbose=0,
        random_state=0,
    )  # fmt: skip
    return Pipeline([SVDCompressor(3), network]).fit(signals, y, crb=np.abs(y.to_numpy()) + 1)
