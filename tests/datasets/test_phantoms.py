import numpy as np
import pytest
from phantoms import small_phantom

from crbestim import MTHybridStateModel, SVDCompressor, paper_prior
from crbestim.datasets import Phantom, make_brain_phantom, make_bsa_phantom


def test_signals_mix_not_parameters():
    phantom, model = small_phantom((3, 2, 1)), MTHybridStateModel()
    images = phantom.signal(model)
    for i in range(3):
        for j in range(2):
            expected = 0
            for tissue, fraction in zip(phantom.tissues.index, phantom.fractions[:, i, j, 0], strict=True):
                row = phantom.tissues.loc[tissue]
                theta = [*row[["m0s", "T1", "T2f", "Rx", "T2s"]], 100.0 * j, 0.9]
                expected = expected + fraction * row["density"] * model.signal([theta])[0]
            np.testing.assert_allclose(images[i, j, 0], np.exp(1j * j) * expected, rtol=1e-5, atol=1e-7)


def test_coefficients_are_those_of_the_signal():
    phantom, model = small_phantom((3, 2, 1)), MTHybridStateModel()
    basis = SVDCompressor(5).fit(model.signal(paper_prior().sample(50, random_state=0))).basis_
    np.testing.assert_allclose(phantom.signal(model, basis), phantom.signal(model) @ basis, atol=1e-6)


def test_maps_are_means_weighted_by_what_is_there():
    phantom = small_phantom((3, 2, 1))
    expected = (0.5 * 0.7 * 1.0 + 0.4 * 0.9 * 1.5) / (0.5 * 0.7 + 0.4 * 0.9)
    assert phantom.parameter_map("T1")[1, 0, 0] == pytest.approx(expected)
    np.testing.assert_array_equal(phantom.parameter_map("B0"), phantom.fields["B0"])
    np.testing.assert_array_equal(phantom.dominated_by("a")[:, 0, 0], [False, False, True])
    with pytest.raises(ValueError, match="name must be one of"):
        phantom.parameter_map("T2")


def test_unknown_tissues_and_bad_masks_are_refused():
    phantom = small_phantom((3, 2, 1))
    with pytest.raises(ValueError, match=r"tissue must be one of \['a', 'b'\]; got 'c'"):
        phantom.theta("c", phantom.mask)
    with pytest.raises(ValueError, match=r"where must be booleans of shape \(3, 2, 1\); got bool \(2, 2, 1\)"):
        phantom.theta("a", phantom.mask[:2])
    with pytest.raises(ValueError, match="where must be booleans"):
        phantom.theta("a", phantom.mask.astype(int))
    with pytest.raises(ValueError, match="tissue must be one of"):
        phantom.dominated_by("c")
    with pytest.raises(ValueError, match="fraction must be above 0 and at most 1; got 95. Is it in percent?"):
        phantom.dominated_by("a", 95)


def test_slab_is_where_it_was():
    phantom = small_phantom((3, 2, 5))
    slab = phantom.slab(1, 3)
    assert slab.shape == (3, 2, 2)
    np.testing.assert_array_equal(slab.fractions, phantom.fractions[..., 1:3])
    np.testing.assert_array_equal(slab.fields["B0"], phantom.fields["B0"][..., 1:3])
    np.testing.assert_array_equal(slab.affine @ [0, 0, 0, 1], phantom.affine @ [0, 0, 1, 1])
    with pytest.raises(ValueError, match="first and last must be from 0 to 5"):
        phantom.slab(3, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fractions": np.full((2, 3, 2, 1), 0.6)}, "fractions must not be negative"),
        ({"fractions": np.zeros((3, 3, 2, 1))}, "fractions must be real numbers of shape"),
        ({"phase": np.full((3, 2, 1), np.nan)}, "phase contains NaN"),
        ({"fields": {"B0": np.zeros(3)}}, "fields"),
        ({"regions": {"left": np.ones((3, 2, 1))}}, "regions"),
    ],
)
def test_bad_arrays_are_refused(change, message):
    good = small_phantom((3, 2, 1))
    arrays = {name: getattr(good, name) for name in ("tissues", "fractions", "fields", "phase", "affine", "regions")}
    with pytest.raises(ValueError, match=message):
        Phantom(**arrays | change)


def test_bsa_phantom():
    phantom = make_bsa_phantom(voxel_size=4)
    table = phantom.tissues
    assert list(phantom.regions) == ["10 %", "15 %", "20 %", "10 % + Mn", "15 % + Mn", "20 % + Mn"]
    np.testing.assert_allclose(table.loc["15 %", ["m0s", "T1", "Rx"]].astype(float), [0.083, 1 / 1.197, 70])
    manganese, without = 1 / table.loc["15 % + Mn", ["T1", "T2f"]], 1 / table.loc["15 %", ["T1", "T2f"]]
    np.testing.assert_allclose((manganese - without).astype(float), [0.64, 10.8])
    for name, region in phantom.regions.items():
        assert region.sum() > 50
        np.testing.assert_allclose(phantom.parameter_map("m0s")[region], table.loc[name, "m0s"])
    tube_area = phantom.fractions[1].sum(axis=(0, 1))[0] * 16
    assert tube_area == pytest.approx(np.pi * 13.5**2, rel=0.02)
    frequency = phantom.fields["B0"][phantom.mask] / (2 * np.pi)
    assert (frequency.min(), frequency.max()) == pytest.approx((-20, 20))
    assert (phantom.fields["B1"][phantom.mask].min(), phantom.fields["B1"][phantom.mask].max()) == (0.75, 1.15)


def test_brain_phantom_has_the_anatomy_of_its_template():
    pytest.importorskip("nilearn")
    phantom = make_brain_phantom(voxel_size=4)
    litres = dict(zip(phantom.tissues.index, phantom.fractions.sum(axis=(1, 2, 3)) * 4**3 / 1e6, strict=True))
    assert sum(litres.values()) == pytest.approx(1.883, rel=0.01)  # of the template's mask
    assert 0.5 < litres["white matter"] < 0.9
    assert 0.8 < litres["grey matter"] < 1.2
    ellipsoids = {"globus pallidus": 4.5 * 9.5 * 5.5, "thalamus": 7.5 * 13.5 * 8}
    for name, product in ellipsoids.items():
        # Less than the ellipsoids: what is CSF stays CSF.
        assert 0.75 < litres[name] * 1e6 / (2 * 4 / 3 * np.pi * product) < 1.05
        on_the_right = np.argwhere(phantom.regions[name])[:, 0] > phantom.shape[0] / 2
        assert 0.3 < on_the_right.mean() < 0.7
    assert phantom.regions["frontal white matter"].sum() > 30
    assert phantom.fractions[phantom.fractions > 0].min() >= 1e-6  # no voxels of rounding errors
    centre = np.linalg.inv(phantom.affine) @ [20, -4, 0, 1]
    assert phantom.parameter_map("T2f")[tuple(np.round(centre[:3]).astype(int))] < 0.045


def test_partial_volume_is_kept_at_any_resolution():
    pytest.importorskip("nilearn")
    fine, coarse = (make_brain_phantom(size) for size in (3, 7.5))
    for tissue in range(3):
        volumes = [p.fractions[tissue].sum() * abs(np.linalg.det(p.affine[:3, :3])) for p in (fine, coarse)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.02)


@pytest.mark.parametrize("make", [make_bsa_phantom, make_brain_phantom])
def test_bad_sizes_and_ranges_are_refused(make):
    with pytest.raises(ValueError, match="voxel_size must be between"):
        make(voxel_size=0.004)
    with pytest.raises(TypeError, match="voxel_size"):
        make(voxel_size="4")
    with pytest.raises(ValueError, match="b0_range"):
        make(b0_range=-1)
    with pytest.raises(ValueError, match="b1_range must not be decreasing"):
        make(b1_range=(1.2, 0.8))
