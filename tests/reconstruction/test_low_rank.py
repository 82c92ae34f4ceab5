import numpy as np
import pytest
from phantoms import small_phantom, voxel_indices

from crbestim import MTHybridStateModel
from crbestim.acquisition import (
    KSpaceData,
    koosh_ball_trajectory,
    make_coil_sensitivities,
    radial_weights,
    simulate_kspace,
)
from crbestim.reconstruction import find_bart, reconstruct_coefficients
from crbestim.reconstruction._bart import run_bart
from crbestim.reconstruction._toeplitz_kernel import toeplitz_kernel

needs_bart = pytest.mark.skipif(find_bart() is None, reason="BART is not installed")
N_ECHOES, N_COILS, N_CYCLES, N_SAMPLES, RANK = 20, 2, 60, 16, 3


def smooth_object(shape, rng):
    """Coefficients of a ball with a soft edge, which all of its k-space within the sphere describes."""
    radius = np.linalg.norm(voxel_indices(shape) / shape, axis=-1)
    return np.exp(-((radius / 0.22) ** 4))[..., None] * rng.normal(size=RANK)


def scan(shape, noise_std=0.0):
    """Coefficients, a complex basis and k-space of an object."""
    rng = np.random.default_rng(0)
    images = smooth_object(shape, rng)
    basis = np.linalg.qr(rng.normal(size=(N_ECHOES, RANK)) + 1j * rng.normal(size=(N_ECHOES, RANK)))[0]
    x, y, _ = np.moveaxis(voxel_indices(shape) / shape, -1, 0)
    coils = np.stack([np.exp(-((x - 0.5) ** 2) + 1j * y), np.exp(-((x + 0.5) ** 2) / 2)])
    coils = (coils / np.linalg.norm(coils, axis=0)).astype(np.complex64)
    trajectory = koosh_ball_trajectory(N_ECHOES, N_CYCLES, N_SAMPLES)
    r = voxel_indices(shape).reshape(-1, 3)
    samples = np.empty((N_ECHOES, N_COILS, N_CYCLES, N_SAMPLES), dtype=np.complex64)
    for t in range(N_ECHOES):
        waves = np.exp(-1j * trajectory[t].reshape(-1, 3).astype(float) @ r.T) / np.sqrt(len(r))
        image = images @ basis[t].conj()
        samples[t] = (waves @ (coils * image).reshape(N_COILS, -1).T).T.reshape(samples.shape[1:])
    return images, basis, KSpaceData(samples, trajectory, coils).with_noise(noise_std, random_state=1)


def plain_bart(data, basis, penalty):
    """What bart pics makes of the data without any preparation."""
    shape = data.sensitivities.shape[1:]
    trajectory = np.transpose(data.trajectory, (3, 2, 1, 0)) / (2 * np.pi) * np.reshape(shape, (3, 1, 1, 1))
    inputs = {
        "k": np.transpose(data.samples, (3, 2, 1, 0))[None, :, :, :, None],
        "t": trajectory[:, :, :, None, None],
        "s": np.moveaxis(data.sensitivities, 0, -1),
        "b": basis.conj().reshape(1, 1, 1, 1, 1, *basis.shape),
    }
    options = ["-S", "-e", "-i", "30", *penalty, "-t", "t", "-B", "b"]
    return run_bart(["pics", *options, "k", "s", "o"], inputs, "o").reshape(*shape, -1)


@needs_bart
@pytest.mark.parametrize("shape", [(16, 16, 16), (14, 16, 12)])
@pytest.mark.parametrize(
    ("regularization", "penalty"),
    [("l2", ["-l2", "-r", "0.01"]), ("locally-low-rank", ["-R", "L:7:7:0.01", "-b", "8"])],
)
def test_images_are_those_of_bart_with_the_basis(shape, regularization, penalty):
    _, basis, data = scan(shape, noise_std=0.02)
    ours = reconstruct_coefficients(
        data, basis, regularization=regularization, strength=0.01, max_iter=30, progress=False
    )
    theirs = plain_bart(data, basis, penalty)
    # The accuracy of BART's own gridding, which both share, enlarged by the inversion.
    assert np.linalg.norm(ours - theirs) < 0.02 * np.linalg.norm(theirs)


@needs_bart
@pytest.mark.parametrize("shape", [(16, 16, 16), (14, 15, 12)])
def test_object_is_found_again(shape):
    images, basis, data = scan(shape)
    found = reconstruct_coefficients(data, basis, regularization="l2", strength=1e-3, max_iter=60, progress=False)
    assert np.linalg.norm(found - images) < 0.02 * np.linalg.norm(images)


@needs_bart
def test_samples_of_no_weight_are_not_seen():
    _, basis, data = scan((14, 16, 12))
    broken = data.samples.copy()
    broken[:, :, ::3] = 100
    weights = np.ones(data.trajectory.shape[:3])
    weights[:, ::3] = 0
    settings = {"regularization": "l2", "strength": 0.01, "max_iter": 30, "progress": False, "weights": weights}
    found = reconstruct_coefficients(KSpaceData(broken, data.trajectory, data.sensitivities), basis, **settings)
    expected = reconstruct_coefficients(data, basis, **settings)
    assert np.linalg.norm(expected) > 0
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@needs_bart
def test_radial_weights_need_fewer_iterations():
    images, basis, data = scan((16, 16, 16))

    def error(weights):
        found = reconstruct_coefficients(
            data, basis, weights=weights, regularization="l2", strength=1e-4, max_iter=3, progress=False
        )
        return np.linalg.norm(found - images) / np.linalg.norm(images)

    assert error(radial_weights(data.trajectory)) < 0.5 * error(None)


@needs_bart
def test_scan_of_a_phantom_gives_its_coefficients():
    phantom, model = small_phantom((12, 11, 10), soft=True), MTHybridStateModel()
    signals = phantom.signal(model)
    echoes = np.arange(0, model.n_timepoints, 19)
    basis = np.linalg.svd(signals[..., echoes].reshape(-1, len(echoes)), full_matrices=False)[2][:4].conj().T
    trajectory = koosh_ball_trajectory(len(echoes), 20, 16)
    coils = make_coil_sensitivities(phantom, 2)
    data = simulate_kspace(phantom, model, trajectory, coils, echoes, progress=False)
    found = reconstruct_coefficients(data, basis, regularization="l2", strength=0.01, max_iter=60, progress=False)
    expected = signals[..., echoes] @ basis
    assert np.linalg.norm(found - expected) < 0.08 * np.linalg.norm(expected)


def test_normal_operator_is_that_of_direct_sums():
    shape = (4, 3, 2)
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(5, 2)) + 1j * rng.normal(size=(5, 2))
    trajectory = koosh_ball_trajectory(5, 3, 4)
    weights = rng.uniform(size=trajectory.shape[:3]).astype(np.float32)
    kernel = toeplitz_kernel(trajectory, basis, shape, weights, progress=False)
    r = voxel_indices(shape).reshape(-1, 3)
    normal = np.zeros((2, len(r), 2, len(r)), dtype=complex)
    for t in range(5):
        waves = np.exp(-1j * trajectory[t].reshape(-1, 3).astype(float) @ r.T) / np.sqrt(len(r))
        gram = waves.conj().T @ (weights[t].reshape(-1, 1) * waves)
        normal += np.einsum("j,m,rs->jrms", basis[t].conj(), basis[t], gram)
    image = rng.normal(size=(2, *shape))
    doubled = np.zeros((2, *(2 * size for size in shape)), dtype=complex)
    doubled[:, : shape[0], : shape[1], : shape[2]] = image
    spectrum = np.fft.fftn(doubled, axes=(1, 2, 3))
    centred = np.empty((2, 2, *doubled.shape[1:]), dtype=complex)
    for i in range(8):
        x, y, z = i & 1, i >> 1 & 1, i >> 2 & 1
        centred[:, :, x::2, y::2, z::2] = np.moveaxis(kernel[..., i].reshape(*shape, 2, 2), (3, 4), (0, 1))
    multiplied = np.einsum("jm...,m...->j...", np.fft.ifftshift(centred, axes=(2, 3, 4)), spectrum) / 8
    result = np.fft.ifftn(multiplied, axes=(1, 2, 3))[:, : shape[0], : shape[1], : shape[2]]
    expected = np.einsum("jrms,ms->jr", normal, image.reshape(2, -1))
    np.testing.assert_allclose(result.reshape(2, -1), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_missing_program_is_told(monkeypatch):
    monkeypatch.setenv("BART_TOOLBOX_PATH", "/nowhere")
    assert find_bart() is None
    _, basis, data = scan((4, 4, 4))
    with pytest.raises(FileNotFoundError, match="apt install bart"):
        reconstruct_coefficients(data, basis, progress=False)


@needs_bart
def test_failure_is_told_with_what_bart_said():
    with pytest.raises(RuntimeError, match="bart fft 7 nothing out failed"):
        run_bart(["fft", "7", "nothing", "out"], {}, "out")


def test_bad_input_is_refused():
    _, basis, data = scan((4, 4, 4))
    with pytest.raises(TypeError, match="data must be KSpaceData"):
        reconstruct_coefficients(data.samples, basis)
    with pytest.raises(ValueError, match="basis must be of shape"):
        reconstruct_coefficients(data, basis[:-1])
    with pytest.raises(ValueError, match="regularization must be one of"):
        reconstruct_coefficients(data, basis, regularization="llr")
    with pytest.raises(ValueError, match="strength"):
        reconstruct_coefficients(data, basis, strength=-1)
    with pytest.raises(ValueError, match="max_iter"):
        reconstruct_coefficients(data, basis, max_iter=0)
    with pytest.raises(ValueError, match="weights must be real numbers of shape"):
        reconstruct_coefficients(data, basis, weights=np.ones(3))
    with pytest.raises(ValueError, match="weights must not be negative"):
        reconstruct_coefficients(data, basis, weights=np.full(data.trajectory.shape[:3], -1.0))
