"""The phantom of Zhang et al.: tubes of cross-linked bovine serum albumin in doped water."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.ndimage import binary_erosion, generate_binary_structure

from .._validation import FloatArray, check_not_negative, check_positive, check_range
from ._phantom import Phantom
from ._scanner_fields import centre_brightening, receive_phase, second_order_field, voxel_positions

CONCENTRATIONS = (10, 15, 20)  # g BSA in 100 g
MANGANESE = 0.1  # mmol/l
CYLINDER_RADIUS, TUBE_RADIUS, RING_RADIUS, LENGTH = 88.0, 13.5, 50.0, 64.0  # mm

# 15 % BSA at room temperature: the generalized Bloch model's fit to the inversion recovery of
# fetch_bsa_inversion_recovery (m0s 0.083, R1 1.197/s, Rx 70/s, T2s 12.1 us).
_POOL_RATIO = 0.083 / (1 - 0.083) / (15 / 85)  # semi-solid to free, for each g of BSA per g of water
_R1_BSA = (1.197 - 0.37) / (15 / 85)  # 1/s, likewise
_RX, _T2S = 70.0, 12.1e-6
# Nothing is published for T2f: our choice, 70 ms for 15 %.
_R2_BSA = (1 / 0.07 - 0.4) / (15 / 85)
_R1_WATER, _R2_WATER = 0.37, 0.4  # 1/s, room temperature
# Of Mn2+ at 3 T, l/mmol/s: K. Thangavel and E. U. Saritas, Turk. J. Elec. Eng. & Comp. Sci. 25, 2017.
_MN_R1, _MN_R2 = 6.4, 108.0
_BSA_VOLUME = 0.73  # ml/g, partial specific volume


def make_bsa_phantom(
    voxel_size: float = 4.0,
    *,
    b0_range: float = 20.0,
    b1_range: tuple[float, float] = (0.75, 1.15),
) -> Phantom:
    r"""Make the phantom of Zhang et al.: six tubes of cross-linked bovine serum albumin (BSA) in doped water.

    10, 15 and 20 % BSA, each without and with 0.1 mmol/l MnCl2, in tubes of 27 mm on a ring of 100 mm, in a cylinder
    of 176 mm of water, 64 mm long. The values for 15 % are those of a published measurement of the same material [1]_
    (m0s, R1, Rx, T2s); the others follow by proportion to the grams of BSA in a gram of water, and the manganese adds
    its relaxivities [2]_. T2f is our choice, 70 ms for 15 %, and so is the doping of the water around, T1 = 1 s and
    T2f = 0.8 s. The edges of the tubes have partial volume.

    Parameters
    ----------
    voxel_size : float, default=4.0
        In mm, isotropic, at least 0.5.
    b0_range : float, default=20.0
        Largest deviation from resonance, in Hz.
    b1_range : tuple of two floats, default=(0.75, 1.15)
        B1 at the rim and in the middle, relative to nominal.

    Returns
    -------
    Phantom
        Its regions are the tubes, ``"10 %"`` to ``"20 % + Mn"``, less their outermost voxels.

    Raises
    ------
    TypeError, ValueError
        If a size or a range is not positive and finite, or the voxels are too small, or too large for the tubes.

    References
    ----------
    .. [1] J. Assländer et al., Generalized Bloch model: A theory for pulsed magnetization transfer, Magn. Reson. Med.
       87, 2022; the fit is that of `InversionRecoveryMTModel` to `fetch_bsa_inversion_recovery`.
    .. [2] K. Thangavel and E. U. Saritas, Aqueous paramagnetic solutions for MRI phantoms at 3 T: A detailed study on
       relaxivities, Turk. J. Elec. Eng. & Comp. Sci. 25, 2017.

    Examples
    --------
    >>> from crbestim.datasets import make_bsa_phantom
    >>> phantom = make_bsa_phantom(voxel_size=8)
    >>> phantom.tissues.loc["20 % + Mn"].round(3)[["m0s", "T1", "T2f"]].tolist()
    [0.114, 0.458, 0.032]
    """
    voxel_size = check_positive(voxel_size, "voxel_size")
    b0_range = check_not_negative(b0_range, "b0_range")
    b1_range = check_range(b1_range, "b1_range")
    if not 0.5 <= voxel_size <= TUBE_RADIUS:
        raise ValueError(
            f"voxel_size must be between 0.5 mm and the tubes' radius, {TUBE_RADIUS} mm; got {voxel_size}."
        )
    in_plane, along = int(np.ceil(2 * (CYLINDER_RADIUS + voxel_size) / voxel_size)), round(LENGTH / voxel_size)
    shape = (in_plane, in_plane, along)
    affine = np.diag([voxel_size, voxel_size, voxel_size, 1.0])
    affine[:3, 3] = [-voxel_size * (n - 1) / 2 for n in shape]
    positions = voxel_positions(shape, affine)

    tissues = bsa_tissues()
    cylinder = _disk_fraction(positions, (0.0, 0.0), CYLINDER_RADIUS, voxel_size)
    angles = np.arange(len(tissues) - 1) * 2 * np.pi / (len(tissues) - 1)
    centres = RING_RADIUS * np.column_stack([np.cos(angles), np.sin(angles)])
    tubes = np.stack([_disk_fraction(positions, centre, TUBE_RADIUS, voxel_size) for centre in centres])
    across = generate_binary_structure(2, 2)[..., None]
    inside = cylinder > 0
    return Phantom(
        tissues=tissues,
        fractions=np.concatenate([(cylinder - tubes.sum(axis=0))[None], tubes]),
        fields={
            "B0": 2 * np.pi * second_order_field(positions, inside, b0_range),
            "B1": centre_brightening(positions, inside, b1_range),
        },
        phase=receive_phase(positions, inside),
        affine=affine,
        regions={
            name: binary_erosion(tube >= 1, across) if voxel_size < TUBE_RADIUS / 3 else tube >= 1
            for name, tube in zip(tissues.index[1:], tubes, strict=True)
        },
    )


def bsa_tissues() -> pd.DataFrame:
    """Return the materials, water first."""
    rows = {"water": (0.0, 1.0, 0.8, _RX, _T2S, 1.0)}
    for manganese in (0.0, MANGANESE):
        for concentration in CONCENTRATIONS:
            per_water = concentration / (100 - concentration)
            pool_ratio = _POOL_RATIO * per_water
            R1 = _R1_WATER + _R1_BSA * per_water + _MN_R1 * manganese
            R2 = _R2_WATER + _R2_BSA * per_water + _MN_R2 * manganese
            density = (1 - _BSA_VOLUME * concentration / 100) * (1 + pool_ratio)
            name = f"{concentration} %" + (" + Mn" if manganese else "")
            rows[name] = (pool_ratio / (1 + pool_ratio), 1 / R1, 1 / R2, _RX, _T2S, density)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["m0s", "T1", "T2f", "Rx", "T2s", "density"])


def _disk_fraction(positions: FloatArray, centre: tuple[float, float], radius: float, voxel_size: float) -> FloatArray:
    """Return the share of each voxel that lies within a cylinder along z, to first order in the voxels' size."""
    distance = np.linalg.norm(positions[..., :2] - np.asarray(centre), axis=-1)
    return np.clip((radius - distance) / voxel_size + 0.5, 0.0, 1.0)
