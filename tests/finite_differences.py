"""Derivatives of a model's signal against central differences, voxel by voxel."""

import numpy as np
from tissues import BAND


def disagreement(model, theta, name):
    """Error of the analytic derivative in each voxel of a DataFrame, in units of what is allowed.

    Five-point differences at three steps: the truncation error falls with h^4, the rounding error grows as 1/h.
    A voxel agrees if one of the steps does; a wrong derivative agrees at none. The allowance 1e-13 |s| / h is the
    rounding error of signals that carry some hundred units in the last place after 2,000 steps.

    The pieces of a saturation table join with their slopes, but not with their curvatures: where a stencil crosses a
    knot, the factor's derivative errs by the jump times h. The jump is as small as the table's error of the curvature,
    and few of a thousand pulses cross at a time, so nothing is allowed for it.
    """
    derivative, signal = model.jacobian(theta)[:, :, theta.columns.get_loc(name)], model.signal(theta)
    assert not derivative.imag.any()
    assert not signal.imag.any()
    derivative = derivative.real
    norm, size = (np.linalg.norm(values, axis=1) for values in (derivative, signal))
    assert (norm > 0).all()

    def shifted(steps):
        return model.signal(theta.assign(**{name: theta[name] + steps})).real

    ratios = []
    for fraction in (1e-2, 3e-3, 1e-3):
        h = fraction * length_scale(theta, name).to_numpy()
        difference = 8 * (shifted(h) - shifted(-h)) - (shifted(2 * h) - shifted(-2 * h))
        error = np.linalg.norm(difference / (12 * h[:, None]) - derivative, axis=1)
        ratios.append(error / (1e-7 * norm + 1e-13 * size / h))
    return np.min(ratios, axis=0)


def length_scale(theta, name):
    """Over how much of a parameter the signal changes, or how far its range goes; steps are fractions of it."""
    value = theta[name]
    if name == "m0s":
        return np.minimum(value, 1 - value)
    if name in ("T1", "T2", "T2f"):
        return np.minimum(value, theta["T1"] - theta["T2" if "T2" in theta else "T2f"])
    if name == "B0":  # to the next stop band, where the signal changes sign
        return np.minimum((value % (2 * BAND) - BAND).abs(), 0.1 * BAND)
    if name == "B1":
        return np.minimum(value, 3 - value)
    return np.minimum(value, 100.0) if name == "Rx" else value
