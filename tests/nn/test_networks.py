import numpy as np
import pytest
import torch
from torch import nn

from crbestim._validation import stack_complex
from crbestim.nn import NETWORKS, AsinhOutput, PaperNetwork, PhaseAlignment, ResidualNetwork
from crbestim.nn._networks import GroupNorm


@pytest.fixture
def coefficients():
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 13)) + 1j * rng.normal(size=(20, 13))


def as_tensor(coefficients):
    return torch.tensor(stack_complex(coefficients), dtype=torch.float32)


@pytest.mark.parametrize("network", NETWORKS)
def test_output_does_not_depend_on_the_amplitude(network, coefficients):
    torch.manual_seed(0)
    module = NETWORKS[network](26, 3).eval()
    with torch.no_grad():
        reference = module(as_tensor(coefficients))
        torch.testing.assert_close(module(as_tensor(37.0 * coefficients)), reference, rtol=1e-3, atol=1e-5)
    assert reference.shape == (20, 3)
    assert reference.std() > 0


def test_residual_network_does_not_depend_on_the_phase(coefficients):
    torch.manual_seed(0)
    module = ResidualNetwork(26, 3).eval()
    with torch.no_grad():
        reference = module(as_tensor(coefficients))
        for phase in (0.3, 1.8, np.pi, 4.5):
            rotated = module(as_tensor(coefficients * np.exp(1j * phase)))
            torch.testing.assert_close(rotated, reference, rtol=1e-3, atol=1e-4)


def test_phase_alignment_makes_real_signals_real_and_keeps_the_norm():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(50, 13))
    rotated = as_tensor(real * np.exp(2j * np.pi * rng.random((50, 1))))
    aligned = PhaseAlignment()(rotated)
    expected = real * np.sign(real[:, :1])
    np.testing.assert_allclose(aligned[:, :13].numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(aligned[:, 13:].numpy(), 0, atol=1e-4)


def test_paper_network_has_fourteen_layers_of_the_published_widths():
    module = PaperNetwork(26, 3)
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linear] == [
        128, 256, 512, 1024, 768, 640, 512, 384, 256, 192, 128, 26, 6, 3,
    ]  # fmt: skip
    norms = [layer for layer in module.modules() if isinstance(layer, nn.GroupNorm)]
    assert len(norms) == 13
    assert all(norm.num_groups == 1 for norm in norms if norm.num_channels < 64)
    assert sum(weight.numel() for weight in module.parameters()) == pytest.approx(2.67e6, rel=0.01)


def test_paper_network_adds_earlier_outputs_of_the_same_width(coefficients):
    torch.manual_seed(0)
    module = PaperNetwork(26, 3).eval()
    x = as_tensor(coefficients)
    with torch.no_grad():
        h = nn.functional.normalize(x, dim=1)
        outputs = [h]
        skips = {7: 3, 9: 2, 11: 1, 12: 0}  # later layer: earlier output, widths 512, 256, 128, 26
        for i, layer in enumerate(module.layers, start=1):
            h = layer(h)
            if i in skips:
                h = h + outputs[skips[i]]
            outputs.append(h)
        torch.testing.assert_close(module(x), module.last(h))


@pytest.mark.parametrize("n_inputs", [2, 60, 130, 200, 998])
def test_paper_network_takes_any_width(n_inputs):
    assert PaperNetwork(n_inputs, 5)(torch.ones(3, n_inputs)).shape == (3, 5)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_row_of_zeros_gives_finite_output_and_gradient(network):
    module = NETWORKS[network](26, 3)
    output = module(torch.zeros(4, 26))
    output.sum().backward()
    assert torch.isfinite(output).all()
    assert all(torch.isfinite(weight.grad).all() for weight in module.parameters())


def test_asinh_outputs_have_the_parameters_mean_spread_and_zero():
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(5000, 2, generator=generator).exp()
    mean, scale = theta.mean(0), theta.std(0)
    output = AsinhOutput(2, linear_range=0.3)
    output.calibrate((theta - mean) / scale, -mean / scale)
    raw = (torch.asinh(theta / scale / 0.3) - output.shift) / output.stretch
    torch.testing.assert_close(output(raw) * scale + mean, theta, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(raw.mean(0), torch.zeros(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(raw.std(0), torch.ones(2), rtol=1e-3, atol=0)
    assert (output(torch.full((1, 2), -20.0)) * scale + mean < 0).all()


def test_parameters_far_from_zero_keep_their_precision():
    theta = torch.linspace(-2, 2, 1000)[:, None]
    output = AsinhOutput(1, linear_range=0.3)
    output.calibrate(theta, torch.tensor([-1e8]))
    raw = (torch.asinh((theta - output.zero) / 0.3) - output.shift) / output.stretch
    torch.testing.assert_close(output(raw), theta, rtol=0, atol=1e-4)


def test_linear_outputs_have_no_range():
    linear = ResidualNetwork(8, 2, linear_range=torch.inf)
    assert linear.output is None
    assert ResidualNetwork(8, 2).output.linear_range == 0.3


def test_group_norm_is_that_of_torch():
    x = torch.randn(7, 192, generator=torch.Generator().manual_seed(0))
    ours, theirs = GroupNorm(3, 192), torch.nn.GroupNorm(3, 192)
    weights = {name: value + torch.rand(192) for name, value in theirs.state_dict().items()}
    ours.load_state_dict(weights)
    theirs.load_state_dict(weights)
    torch.testing.assert_close(ours(x), theirs(x))
