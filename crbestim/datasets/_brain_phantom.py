"""A brain: the anatomy of a template, the tissues of the literature."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.ndimage import map_coordinates, uniform_filter1d

from .._optional import imported
from .._validation import FloatArray, check_not_negative, check_positive, check_range
from ._phantom import Phantom
from ._scanner_fields import (
    centre_brightening,
    field_of_cavity,
    receive_phase,
    second_order_field,
    voxel_positions,
)

# Centre, semi-axes and direction of the long axis in mm of MNI space, right side; the left one is its mirror image.
NUCLEI = {
    "globus pallidus": ((20.0, -4.0, 0.0), (4.5, 9.5, 5.5), (0.45, -0.9, 0.1)),
    "thalamus": ((11.0, -18.0, 8.0), (7.5, 13.5, 8.0), (0.4, -0.9, 0.15)),
}
FRONTAL_WHITE_MATTER = ((18.0, 36.0), (20.0, 44.0), (-5.0, 28.0))  # mm, right
AIR_CAVITIES = (((0.0, 55.0, -35.0), 22.0), ((52.0, -20.0, -45.0), 18.0), ((-52.0, -20.0, -45.0), 18.0))
_NO_FLUID, _ROUNDING = 0.02, 1e-6
# R2 in 1/s against iron in mg / 100 g at 3 T: N. Gelman et al., Radiology 210, 1999, reports 12.7/s without iron and
# 25.8/s in the globus pallidus; iron from B. Hallgren and P. Sourander, J. Neurochem. 3, 1958.
_R2_WITHOUT_IRON, _R2_PALLIDUM, _IRON_PALLIDUM, _IRON_THALAMUS = 12.7, 25.8, 21.3, 4.76


def make_brain_phantom(
    voxel_size: float = 4.0,
    *,
    b0_range: float = 80.0,
    b1_range: tuple[float, float] = (0.75, 1.15),
) -> Phantom:
    r"""Make a brain from the MNI152 tissue probability maps that nilearn ships.

    White and grey matter and cerebrospinal fluid (CSF), with globus pallidus and thalamus as ellipsoids at their
    places in MNI space; what the maps leave is fluid if it is more than 2 %. A voxel holds the mean of the 1 mm maps
    over its volume, so that borders have partial volume.

    ===============  =====  ======  ======  =======  =======  =======  ==============================================
    tissue           m0s    T1 [s]  T2f     Rx       T2s      density  sources
                                    [ms]    [1/s]    [µs]
    ===============  =====  ======  ======  =======  =======  =======  ==============================================
    white matter     0.122  1.084   55.6    26.2     10.0     0.79     [1]_, T2f [2]_, density [3]_
    grey matter      0.048  1.82    69.4    42       9.1      0.88     [1]_, T2f [2]_ (prefrontal), density [3]_
    CSF              0      4.3     2000    42       9.1      1        T1 [4]_, T2f our choice
    globus pallidus  0.09   1.1     38.8    30       10.0     0.85     T2f [2]_, the others our choice
    thalamus         0.08   1.3     64      35       10.0     0.85     T2f from its iron [5]_ [2]_, others our choice
    ===============  =====  ======  ======  =======  =======  =======  ==============================================

    [1]_ gives the semi-solid pool relative to the free one, :math:`M_0^B`, and its exchange rate R:
    :math:`m_0^s = M_0^B / (1 + M_0^B)` and :math:`R_x = R (1 + M_0^B)`. ``density`` is that of both pools' protons:
    the water content over :math:`1 - m_0^s`.

    Parameters
    ----------
    voxel_size : float, default=4.0
        In mm, isotropic, at least 1.
    b0_range : float, default=80.0
        Frequency in Hz near the cavities of air, above the sinuses and the ears; elsewhere it stays below a
        fifth of it.
    b1_range : tuple of two floats, default=(0.75, 1.15)
        B1 at the rim and in the middle, relative to nominal.

    Returns
    -------
    Phantom
        In MNI space. Its regions are ``"globus pallidus"``, ``"thalamus"`` (voxels filled by them to 95 %) and
        ``"frontal white matter"``, a box on the right side.

    Raises
    ------
    ImportError
        If nilearn is missing; the extra ``phantom`` brings it.
    TypeError, ValueError
        If a size or a range is not positive and finite, or the voxels are smaller than 1 mm or larger than 16 mm.

    References
    ----------
    .. [1] G. J. Stanisz et al., T1, T2 relaxation and magnetization transfer in tissue at 3T, Magn. Reson. Med. 54,
       2005.
    .. [2] N. Gelman et al., MR imaging of human brain at 3.0 T: Preliminary report on transverse relaxation rates and
       relation to estimated iron content, Radiology 210, 1999.
    .. [3] A.-M. Oros-Peusquens et al., A single-scan, rapid whole-brain protocol for quantitative water content
       mapping with neurobiological implications, Front. Neurol. 10, 2019.
    .. [4] W. D. Rooney et al., Magnetic field and tissue dependencies of human brain longitudinal 1H2O relaxation in
       vivo, Magn. Reson. Med. 57, 2007.
    .. [5] B. Hallgren and P. Sourander, The effect of age on the non-haemin iron in the human brain, J. Neurochem. 3,
       1958.

    Examples
    --------
    >>> from crbestim.datasets import make_brain_phantom
    >>> phantom = make_brain_phantom(voxel_size=8)
    >>> phantom.shape
    (19, 23, 20)
    """
    voxel_size = check_positive(voxel_size, "voxel_size")
    b0_range = check_not_negative(b0_range, "b0_range")
    b1_range = check_range(b1_range, "b1_range")
    if not 1 <= voxel_size <= 16:
        raise ValueError(f"voxel_size must be between 1 and 16 mm; got {voxel_size}.")
    maps, affine = _averaged(*_tissues_of_template(), voxel_size)
    tissues = brain_tissues()
    fractions = dict(zip(tissues.index, maps, strict=True))
    inside = maps.sum(axis=0) > 0
    positions = voxel_positions(inside.shape, affine)
    cavities = sum(field_of_cavity(positions, centre, width) for centre, width in AIR_CAVITIES)
    frequency = second_order_field(positions, inside, b0_range / 5) + b0_range * cavities
    low, high = np.transpose(FRONTAL_WHITE_MATTER)
    box = ((positions > low) & (positions < high)).all(axis=-1)
    return Phantom(
        tissues=tissues,
        fractions=maps,
        fields={"B0": 2 * np.pi * frequency, "B1": centre_brightening(positions, inside, b1_range)},
        phase=receive_phase(positions, inside),
        affine=affine,
        regions={name: fractions[name] >= 0.95 for name in NUCLEI}
        | {"frontal white matter": box & (fractions["white matter"] >= 0.95)},
    )


def brain_tissues() -> pd.DataFrame:
    """Return the tissues of the brain phantom."""
    slope = (_R2_PALLIDUM - _R2_WITHOUT_IRON) / _IRON_PALLIDUM
    thalamus_T2f = 1 / (_R2_WITHOUT_IRON + slope * _IRON_THALAMUS)
    rows = {
        "white matter": (0.139 / 1.139, 1.084, 1 / 18.0, 23 * 1.139, 10.0e-6, 0.691 * 1.139),
        "grey matter": (0.05 / 1.05, 1.82, 1 / 14.4, 40 * 1.05, 9.1e-6, 0.837 * 1.05),
        "CSF": (0.0, 4.3, 2.0, 40 * 1.05, 9.1e-6, 1.0),
        "globus pallidus": (0.09, 1.1, 1 / _R2_PALLIDUM, 30.0, 10.0e-6, 0.85),
        "thalamus": (0.08, 1.3, thalamus_T2f, 35.0, 10.0e-6, 0.85),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["m0s", "T1", "T2f", "Rx", "T2s", "density"])


def _tissues_of_template() -> tuple[FloatArray, FloatArray]:
    """Return the volume fractions of all tissues in the voxels of MNI152 at 1 mm, and their affine."""
    datasets = imported("nilearn.datasets", "phantom")
    loaders = datasets.load_mni152_wm_template, datasets.load_mni152_gm_template, datasets.load_mni152_brain_mask
    images = [load(resolution=1) for load in loaders]
    white, grey, brain = (image.get_fdata() for image in images)
    affine = images[0].affine
    matter = white + grey
    # The maps have 255 steps; a rest of a few steps is no fluid.
    filled = np.where(matter > brain - _NO_FLUID, brain / np.maximum(matter, 1e-12), 1.0)
    white, grey = white * filled, grey * filled
    fluid = np.maximum(brain - white - grey, 0.0)
    positions = voxel_positions(brain.shape, affine)
    nuclei = []
    for centre, semi_axes, direction in NUCLEI.values():
        share = _ellipsoids(positions, centre, semi_axes, direction)
        nuclei.append(share * (white + grey))
        white, grey = white * (1 - share), grey * (1 - share)
    return np.stack([white, grey, fluid, *nuclei]), affine


def _averaged(maps: FloatArray, affine: FloatArray, voxel_size: float) -> tuple[FloatArray, FloatArray]:
    """Return maps of 1 mm averaged over larger voxels, cut to where they are not zero, and their affine."""
    inside = np.argwhere(maps.any(axis=0))
    first, last = inside.min(axis=0), inside.max(axis=0)
    counts = np.ceil((last - first + 1) / voxel_size).astype(int)
    start = (first + last) / 2 - voxel_size * (counts - 1) / 2
    width = round(voxel_size)
    for axis in (1, 2, 3):
        maps = uniform_filter1d(maps, width, axis=axis, mode="constant")
    # scipy reports a window of an even width half a voxel behind its centre.
    shift = 0.5 if width % 2 == 0 else 0.0
    axes = [begin + voxel_size * np.arange(count) + shift for begin, count in zip(start, counts, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    averaged = np.stack([map_coordinates(each, grid, order=1, mode="constant") for each in maps])
    coarse = np.diag([voxel_size, voxel_size, voxel_size, 1.0])
    coarse[:3, 3] = affine[:3, :3] @ start + affine[:3, 3]
    averaged[averaged < _ROUNDING] = 0.0
    return np.minimum(averaged, 1.0), coarse


def _ellipsoids(
    positions: FloatArray,
    centre: tuple[float, float, float],
    semi_axes: tuple[float, float, float],
    direction: tuple[float, float, float],
) -> FloatArray:
    """Return the share of each voxel of 1 mm that lies within an ellipsoid or its mirror image, to first order."""
    long_axis = np.asarray(direction) / np.linalg.norm(direction)
    across = np.cross(long_axis, (0.0, 0.0, 1.0))
    across /= np.linalg.norm(across)
    axes = np.stack([across, long_axis, np.cross(across, long_axis)])
    share = np.zeros(positions.shape[:3])
    for side in (1.0, -1.0):
        offset = positions * (side, 1.0, 1.0) - np.asarray(centre)
        near = (np.abs(offset) < max(semi_axes) + 1.0).all(axis=-1)  # the brain is a hundred times larger
        u = (offset[near] @ axes.T) / np.asarray(semi_axes)
        radius = np.linalg.norm(u, axis=-1)
        slope = np.linalg.norm(u / np.asarray(semi_axes), axis=-1) / np.maximum(radius, 1e-9)
        share[near] = np.maximum(share[near], np.clip((1 - radius) / np.maximum(slope, 1e-9) + 0.5, 0.0, 1.0))
    return share
