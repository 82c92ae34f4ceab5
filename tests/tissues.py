"""Tissues for the tests of the hybrid-state models."""

import numpy as np
import pandas as pd

TR = 3.5e-3
BAND = np.pi / TR
NAMES = ("m0s", "T1", "T2f", "Rx", "T2s", "B0", "B1")
SINGLE_POOL = ("T1", "T2", "B0", "B1")
TISSUE = {"m0s": 0.15, "T1": 1.6, "T2f": 0.08, "Rx": 40.0, "T2s": 1e-5, "B0": 200.0, "B1": 0.9, "T1s": 0.4, "T2": 0.08}


def tissue(names=NAMES, **changes):
    """One row of theta."""
    return np.array([[{**TISSUE, **changes}[name] for name in names]])


def random_theta(n, seed=0, names=NAMES):
    """Physical rows of theta, all parameters away from where they vanish."""
    rng = np.random.default_rng(seed)
    t1 = rng.uniform(0.3, 4.0, n)
    columns = {
        "m0s": rng.uniform(0.01, 0.4, n),
        "T1": t1,
        "T2f": t1 * rng.uniform(0.01, 0.9, n),
        "Rx": rng.uniform(5.0, 120.0, n),
        "T2s": rng.uniform(5e-6, 20e-6, n),
        "B0": rng.uniform(0.02, 0.95, n) * BAND * rng.choice([-1, 1], n) + 2 * BAND * rng.integers(-1, 2, n),
        "B1": rng.uniform(0.3, 1.7, n),
        "T1s": rng.uniform(0.1, 2.0, n),
    }
    return np.column_stack([{**columns, "T2": columns["T2f"]}[name] for name in names])


def demanding_theta(names):
    """Random voxels, most of them with a parameter moved to where derivatives are difficult."""
    theta = pd.DataFrame(random_theta(320, seed=1, names=names), columns=list(names))
    t2 = "T2" if "T2" in names else "T2f"
    near_band = BAND * 10 ** np.random.default_rng(2).uniform(-3, -1, 10)
    changes = [
        *({"B1": b1} for b1 in (0.05, 0.3, 0.5, 1.5, 1.7, 2.9)),
        *({"B0": band * BAND + side * near_band} for band in (1, -1, 2, -2) for side in (-1, 1)),
        *({"m0s": m0s} for m0s in (1e-6, 1e-4, 1e-2, 0.9)),
        *({"Rx": rx} for rx in (1e-2, 900.0)),
        *({"T2s": t2s} for t2s in (1.2e-6, 9e-5)),
        *({t2: lambda rows, gap=gap: (1 - gap) * rows["T1"]} for gap in (1e-3, 1e-2)),
        {t2: 2e-3},
        {"T1": 25.0, t2: 20.0},
        *({"T1s": t1s} for t1s in (0.01, 25.0)),
        {"T1s": lambda rows: rows["T1"]},
    ]
    for i, change in enumerate(changes):
        if set(change) <= set(names):
            rows = theta.index[10 * i : 10 * (i + 1)]
            theta.loc[rows, list(change)] = theta.loc[rows].assign(**change)[list(change)]
    return theta
