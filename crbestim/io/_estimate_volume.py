"""Parameter maps of a volume of coefficient images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from .._validation import FloatArray, check_positive, numeric_array
from ..estimators import NLLSEstimator
from ..signal import Parameter
from ._cluster import WORKER_TIMEOUT
from ._estimates import estimates_of
from ._map_volume import DEFAULT_BLOCK, map_volume
from ._parameter_map import ParameterMap
from ._volume import Volume

_LEAST_SQUARES_BLOCK = 2**11
FURTHER_MAPS = {  # of least squares
    "m0": Parameter("M0", r"|M_0|", "a.u.", (0, np.inf)),
    "noise_std": Parameter("noise", r"\sigma", "a.u.", (0, np.inf)),
}


@dataclass(frozen=True, eq=False)
class VolumeEstimates:
    """Parameter maps of a volume.

    Attributes
    ----------
    maps : tuple of ParameterMap
        One for each target; of a least-squares fit also the amplitude "M0" and the noise level "noise", in the unit
        of the data.
    quality : ndarray of int, (nx, ny, nz)
        Bits of `QualityFlag`.
    quality_labels : dict of int to str
        The bits that were looked at, with what they mean.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel, NLLSEstimator, Prior
    >>> from crbestim.io import Volume, estimate_volume
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> volume = Volume.from_array(model.signal(np.full((32, 1), 0.1)).reshape(4, 4, 2, 5))
    >>> fit = NLLSEstimator(model, prior=Prior({"T2": stats.uniform(0.03, 0.17)}), verbose=0, random_state=0).fit()
    >>> estimates = estimate_volume(fit, volume, verbose=0)
    >>> maps = {found.parameter.name: found for found in estimates.maps}
    >>> list(maps), round(float(maps["T2"].values.mean()), 4)
    (['T2', 'M0', 'noise'], 0.1)
    >>> bool((estimates.quality == 0).all()), list(estimates.quality_labels)
    (True, [4, 8])
    """

    maps: tuple[ParameterMap, ...]
    quality: NDArray[np.uint32]
    quality_labels: Mapping[int, str]


def estimate_volume(
    estimator: Any,
    volume: Volume,
    *,
    mask: NDArray[np.bool_] | None = None,
    noise_std: float | FloatArray | None = None,
    covariates: Mapping[str, FloatArray] | None = None,
    check_model: bool = False,
    most_voxels: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    scheduler: str | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    verbose: int = 1,
) -> VolumeEstimates:
    """Estimate parameters in every voxel of a volume, in a bounded memory.

    Parameters
    ----------
    estimator : Pipeline or NLLSEstimator
        Fitted, such as one of `load_pretrained`.
    volume : Volume
        Coefficient images, such as of `open_coefficients`.
    mask : ndarray of bool, (nx, ny, nz), optional
        Where to estimate; by default where not all coefficients are zero.
    noise_std : float or ndarray of shape (nx, ny, nz), optional
        Standard deviation of the noise in each real channel; without it a network gives no standard deviations. A
        least-squares fit takes it as an argument of the estimator.
    covariates : mapping of str to ndarray of shape (nx, ny, nz), optional
        Maps of known parameters in SI units.
    check_model : bool, default=False
        Whether to flag signals that are none of the model's: takes as long as a fit, and needs `noise_std` and a
        network from `load_pretrained`.
    most_voxels : int, optional
        Most voxels of a block: 65,536 by default, 2,048 for least squares.
    checkpoint, n_jobs, scheduler, worker_timeout, verbose
        As for `map_volume`.

    Returns
    -------
    VolumeEstimates

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit each other, or as `map_volume`.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    io.map_volume : The same with a function of your own.
    io.save_estimates : Writes maps and report.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> from crbestim import MonoExponentialModel, NLLSEstimator, Prior
    >>> from crbestim.io import Volume, estimate_volume
    >>> model = MonoExponentialModel([0.01, 0.02, 0.04, 0.08, 0.16])
    >>> T2 = np.linspace(0.05, 0.15, 32)  # s
    >>> volume = Volume.from_array(model.signal(T2[:, None]).reshape(4, 4, 2, 5))  # or open_coefficients(path, k)
    >>> fit = NLLSEstimator(model, prior=Prior({"T2": stats.uniform(0.03, 0.17)}), verbose=0, random_state=0).fit()
    >>> mask = np.arange(32).reshape(4, 4, 2) < 30
    >>> estimates = estimate_volume(fit, volume, mask=mask, verbose=0)
    >>> [found.parameter.name for found in estimates.maps]
    ['T2', 'M0', 'noise']
    >>> bool(np.allclose(estimates.maps[0].values[mask], T2[:30], rtol=1e-4))
    True
    """
    check_is_fitted(estimator)
    voxel_maps = {name: numeric_array(values, name) for name, values in (covariates or {}).items()}
    least_squares = isinstance(estimator, NLLSEstimator)
    if check_model and (least_squares or noise_std is None or getattr(estimator, "model_", None) is None):
        raise ValueError("check_model needs noise_std, and a pretrained network whose file tells its model.")
    estimates = estimates_of(estimator, check_model)
    if set(voxel_maps) != set(estimates.covariate_names):
        raise ValueError(f"covariates must be maps of {list(estimates.covariate_names)}; got {list(voxel_maps)}.")
    if noise_std is not None:
        if least_squares:
            raise ValueError("noise_std of a least-squares fit is an argument of NLLSEstimator.")
        voxel_maps["noise_std"] = _noise_map(noise_std, volume, mask)
    block = _LEAST_SQUARES_BLOCK if least_squares or check_model else DEFAULT_BLOCK
    found = map_volume(
        estimates, volume, mask=mask, voxel_maps=voxel_maps,
        most_voxels=block if most_voxels is None else most_voxels,
        checkpoint=checkpoint, settings=estimates.settings, n_jobs=n_jobs, scheduler=scheduler,
        worker_timeout=worker_timeout, verbose=verbose, description="least squares" if least_squares else "estimation",
    )  # fmt: skip
    std = found.get("std")
    maps = [
        ParameterMap(parameter, found["estimate"][..., i], None if std is None else std[..., i])
        for i, parameter in enumerate(estimates.parameters)
    ]
    maps += [ParameterMap(parameter, found[key]) for key, parameter in FURTHER_MAPS.items() if key in found]
    labels = estimates.quality_labels(noise_std is not None)
    return VolumeEstimates(tuple(maps), found["quality"], labels)


def _noise_map(noise_std: float | FloatArray, volume: Volume, mask: NDArray[np.bool_] | None) -> FloatArray:
    if np.isscalar(noise_std):
        return np.broadcast_to(check_positive(cast(float, noise_std), "noise_std"), volume.shape)
    values = numeric_array(noise_std, "noise_std")
    if not values.ndim:
        return np.broadcast_to(check_positive(values.item(), "noise_std"), volume.shape)
    if values.dtype.kind == "c":
        raise TypeError(f"noise_std must be real; got {values.dtype}.")
    if mask is not None and values.shape == np.shape(mask):
        bad = np.argwhere(np.asarray(mask, dtype=bool) & (values <= 0))
        if len(bad):
            place = tuple(bad[0].tolist())
            raise ValueError(f"noise_std must be positive in the mask; it is {values[place]:g} at {place}.")
    return values
