"""A small head with a background, as files, for the commands."""

import nibabel as nib
import numpy as np
import pytest

from crbestim import NoiseModel, load_pretrained, paper_prior
from crbestim.cli import main

SHAPE = (6, 5, 4)
SNR = 50


@pytest.fixture(scope="session")
def network():
    """The network that ships with the package."""
    return load_pretrained("mt-hybrid-state")


@pytest.fixture(scope="session")
def head(tmp_path_factory, network):
    """Directory with coefficients.nii.gz, mask.nii.gz and background.nii.gz."""
    folder = tmp_path_factory.mktemp("head")
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1:5, 1:4] = True
    theta = paper_prior().sample(int(mask.sum()), random_state=0)
    clean = np.zeros((*SHAPE, 13), dtype=np.complex64)
    clean[mask] = network.model_.signal(theta) @ network[0].basis_
    rows = NoiseModel.at_snr(SNR).add_to(clean.reshape(-1, 13), 1, np.ones(mask.size))
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    for name, values in (
        ("coefficients", rows.reshape(clean.shape)),
        ("mask", mask.astype(np.uint8)),
        ("background", (~mask).astype(np.uint8)),
    ):
        nib.save(nib.Nifti1Image(values, affine), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command in an empty directory; returns exit code, what it printed, and what it complained of."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return call
