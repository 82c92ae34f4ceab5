"""The network that ships with the package is what its card says."""

import numpy as np
import pytest

from crbestim import NoiseModel, PulseSequence, bias_and_std, load_pretrained, make_fingerprints


@pytest.fixture(scope="module")
def pipe():
    return load_pretrained("mt-hybrid-state", sequence=PulseSequence.default())


def test_it_knows_its_origin(pipe):
    assert pipe.target_names_ == ["m0s", "T1", "T2f"]
    assert pipe.noise_ == NoiseModel()
    assert pipe.model_.sequence.n_pulses == 1141
    assert list(pipe.prior_table_.index) == ["m0s", "T1", "T2f", "Rx", "T2s", "B0", "B1"]
    assert list(dict.fromkeys(pipe.history_["loss"])) == ["crb", "bias-reduced"]
    for heading in ("# mt-hybrid-state", "## Training", "## Results", "## Limits"):
        assert heading in pipe.card_


def test_it_is_nearly_efficient_and_unbiased(pipe):
    test = make_fingerprints(
        pipe.model_, pipe.prior_, 400, basis=pipe[0].basis_, compressed=True, random_state=11, progress=False
    )
    X = np.hstack([test.X.real, test.X.imag])
    prior_std = pipe.prior_.std()[list(test.target_names)]
    of = bias_and_std(pipe[-1], X, test.y, test.crb, 50, 40, prior_std=prior_std, random_state=0, progress=False)
    for i in range(3):
        chosen = of.informative[:, i]
        assert 0.93 < np.median((of.std / of.sqrt_crb)[chosen, i]) < 1.12
        assert (of.squared_bias / of.sqrt_crb**2)[chosen, i].mean() < 0.12


def test_it_predicts_from_coefficient_images_with_error_bars(pipe):
    signal = pipe.model_.signal([[0.15, 1.2, 0.08, 30.0, 1e-5, 100.0, 1.0]])
    images = np.tile(signal @ pipe[0].basis_, (2, 3, 1))
    images[0, 0] = 0
    estimate, std = pipe.predict_coefficients(images, return_std=True, noise_std=0.02)
    assert estimate.shape == std.shape == (2, 3, 3)
    assert np.isnan(estimate[0, 0]).all()
    crb = pipe.model_.crb([[0.15, 1.2, 0.08, 30.0, 1e-5, 100.0, 1.0]], basis=pipe[0].basis_)
    np.testing.assert_allclose(std[1, 2], 0.02 * np.sqrt(crb[0]), rtol=0.25)
    noise = np.full((2, 3), 0.02)
    noise[1] = 0.04
    _, of_map = pipe.predict_coefficients(images, return_std=True, noise_std=noise)
    np.testing.assert_array_equal(of_map[0], std[0])
    assert (of_map[1] > std[1]).all()


def test_it_refuses_another_basis(pipe):
    basis = np.roll(pipe[0].basis_, 1, axis=1)
    with pytest.raises(ValueError, match="basis"):
        load_pretrained("mt-hybrid-state", basis=basis)
