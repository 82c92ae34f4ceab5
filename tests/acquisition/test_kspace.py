from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from phantoms import small_phantom, voxel_indices

from crbestim import MTHybridStateModel
from crbestim.acquisition import (
    KSpaceData,
    compress_coils,
    koosh_ball_trajectory,
    make_coil_sensitivities,
    simulate_kspace,
)

ECHOES = [3, 400, 900]


@pytest.fixture(scope="module")
def phantom():
    return small_phantom((6, 5, 4))


@pytest.fixture(scope="module")
def coils(phantom):
    return make_coil_sensitivities(phantom, 3)


@pytest.fixture(scope="module")
def data(phantom, coils):
    trajectory = koosh_ball_trajectory(3, 7, 6)
    return simulate_kspace(phantom, MTHybridStateModel(), trajectory, coils, ECHOES, progress=False)


def test_samples_are_fourier_sums_of_each_echo(phantom, coils, data):
    images = phantom.signal(MTHybridStateModel())[..., ECHOES]
    r = voxel_indices(phantom.shape).reshape(-1, 3)
    for t in range(3):
        waves = np.exp(-1j * data.trajectory[t].reshape(-1, 3).astype(float) @ r.T)
        for c, coil in enumerate(coils):
            expected = waves @ (coil * images[..., t]).ravel() / np.sqrt(r.shape[0])
            error = np.linalg.norm(data.samples[t, c].ravel() - expected) / np.linalg.norm(expected)
            assert error < 1e-4


def test_noise_is_white_and_of_its_size(data):
    trajectory = koosh_ball_trajectory(40, 50, 6)
    blank = KSpaceData(np.zeros((40, 3, 50, 6)), trajectory, data.sensitivities)
    noise = blank.with_noise(0.3, random_state=0).samples
    for channel in (noise.real, noise.imag):
        assert abs(channel.std() / 0.3 - 1) < 0.01
        assert abs(channel.mean()) < 0.005
    assert abs(np.mean(noise.real * noise.imag)) < 0.002
    np.testing.assert_array_equal(noise, blank.with_noise(0.3, random_state=0).samples)
    assert not np.array_equal(noise, blank.with_noise(0.3, random_state=1).samples)


def test_noise_that_a_wanted_snr_stands_for(data):
    n_voxels, per_echo = 6 * 5 * 4, 7 * 6
    assert data.noise_std_at(50) == pytest.approx(np.sqrt(per_echo / n_voxels) / 50)


def test_virtual_coils_measure_the_same(data):
    virtual = compress_coils(data, 3)
    np.testing.assert_allclose(np.linalg.norm(virtual.samples), np.linalg.norm(data.samples), rtol=1e-5)
    # The relation of samples and sensitivities is kept: the combinations are those of a unitary matrix.
    gram = np.einsum("tc...,cxyz->t...xyz", data.samples, data.sensitivities.conj())
    kept = np.einsum("tc...,cxyz->t...xyz", virtual.samples, virtual.sensitivities.conj())
    np.testing.assert_allclose(kept, gram, atol=1e-4)
    fewer = compress_coils(data, 1).samples
    strongest = np.linalg.svd(np.moveaxis(data.samples, 1, 0).reshape(3, -1), compute_uv=False)[0]
    np.testing.assert_allclose(np.linalg.norm(fewer), strongest, rtol=1e-4)


def test_bad_input_is_refused(phantom, coils, data):
    model = MTHybridStateModel()
    with pytest.raises(ValueError, match="trajectory must have spokes of 2 echoes"):
        simulate_kspace(phantom, model, data.trajectory, coils, [0, 1], progress=False)
    with pytest.raises(ValueError, match="sensitivities must be of the phantom's shape"):
        simulate_kspace(phantom, model, data.trajectory, coils[:, 1:], ECHOES, progress=False)
    with pytest.raises(ValueError, match="trajectory must lie within pi"):
        simulate_kspace(phantom, model, 2 * data.trajectory, coils, ECHOES, progress=False)
    with pytest.raises(ValueError, match="echoes must be from 0 to 1140"):
        simulate_kspace(phantom, model, data.trajectory, coils, [0, 1, 1141], progress=False)
    with pytest.raises(ValueError, match="n_coils must be at most"):
        compress_coils(data, 4)
    with pytest.raises(TypeError, match="data must be KSpaceData"):
        compress_coils(data.samples, 1)


def test_samples_that_do_not_fit_are_refused(data):
    with pytest.raises(ValueError, match=r"samples must be of shape \(3, 3, 7, 6\)"):
        KSpaceData(data.samples[:, :2], data.trajectory, data.sensitivities)
    with pytest.raises(ValueError, match="samples contains NaN"):
        KSpaceData(np.full(data.samples.shape, np.nan), data.trajectory, data.sensitivities)
    with pytest.raises(ValueError, match="sensitivities must be of shape"):
        KSpaceData(data.samples, data.trajectory, data.sensitivities[0])


def test_a_tissue_that_fills_no_voxel_gives_nothing(phantom, coils, data):
    more = pd.concat([phantom.tissues, phantom.tissues.iloc[:1].set_axis(["nowhere"])])
    fractions = np.concatenate([phantom.fractions, np.zeros((1, *phantom.shape), dtype=phantom.fractions.dtype)])
    other = replace(phantom, tissues=more, fractions=fractions)
    found = simulate_kspace(other, MTHybridStateModel(), data.trajectory, coils, ECHOES, progress=False)
    np.testing.assert_allclose(found.samples, data.samples, atol=1e-4 * np.abs(data.samples).max())
