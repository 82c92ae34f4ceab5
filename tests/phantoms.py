"""Small phantoms, and where voxels are."""

import numpy as np
import pandas as pd

from crbestim.datasets import Phantom


def voxel_indices(shape):
    """Positions of voxels from the centre, index n // 2 of each axis, (nx, ny, nz, 3)."""
    axes = (np.arange(size) - size // 2 for size in shape)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def small_phantom(shape, soft=False):
    """Two tissues that mix along x, in a field that varies along y; if soft, less of both towards the box's edges."""
    x, y, z = np.meshgrid(*(np.linspace(0, 1, size) for size in shape), indexing="ij")
    amount = np.exp(-(((2 * x - 1) ** 2 + (2 * y - 1) ** 2 + (2 * z - 1) ** 2) ** 2) / 0.2) if soft else 1.0
    return Phantom(
        tissues=pd.DataFrame(
            {"m0s": [0.1, 0.2], "T1": [1.0, 1.5], "T2f": [0.06, 0.1], "Rx": 30.0, "T2s": 1e-5, "density": [0.7, 0.9]},
            index=["a", "b"],
        ),
        fractions=amount * np.stack([x, 0.8 * (1 - x)]),
        fields={"B0": 100 * y, "B1": np.full(shape, 0.9)},
        phase=y,
        affine=np.eye(4),
        regions={"left": x < 0.5},
    )
