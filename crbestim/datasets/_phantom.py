"""Tissues in space, and the coefficient images that a scan of them has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .._validation import FloatArray, check_finite, check_positive, numeric_array
from ..signal import SignalModel

_SUM_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Phantom:
    r"""An object of several tissues in three dimensions.

    A voxel may hold several tissues: it is their signals that mix, not their parameters. With the volume fraction
    :math:`f_j` and the proton density :math:`\rho_j` of tissue j, what voxel r measures at echo t is

    .. math:: x_t(r) = e^{i \phi(r)} \sum_j f_j(r) \rho_j s_t(\theta_j, B_0(r), B_1(r)).

    Parameters
    ----------
    tissues : DataFrame of shape (n_tissues, ...)
        A row for each tissue, named in the index: a column for every parameter of the signal model that is no field,
        in SI units, and ``density``, the proton density relative to water.
    fractions : ndarray of shape (n_tissues, nx, ny, nz)
        Volume fractions, at least 0; their sum is at most 1, the rest is air.
    fields : mapping of str to ndarray of shape (nx, ny, nz)
        Parameters that vary in space whatever the tissue: ``B0`` (rad/s) and ``B1`` (relative to nominal).
    phase : ndarray of shape (nx, ny, nz)
        Phase of M0, in rad.
    affine : ndarray of shape (4, 4)
        From voxel indices to millimetres, as in NIfTI files.
    regions : mapping of str to ndarray of shape (nx, ny, nz)
        Boolean masks of what is to be analysed.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit each other, values are not finite, or fractions are negative or add up to more than 1.

    See Also
    --------
    make_bsa_phantom, make_brain_phantom : Phantoms of the paper's experiments.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from crbestim import BlochHybridStateModel, PulseSequence
    >>> from crbestim.datasets import Phantom
    >>> tissues = pd.DataFrame({"T1": [1.0, 4.0], "T2": [0.08, 2.0], "density": [0.8, 1]}, index=["tissue", "water"])
    >>> fractions = np.zeros((2, 4, 4, 2))
    >>> fractions[0, :2], fractions[1, 1:3] = 0.5, 0.5  # they share the voxels of the second row
    >>> fields = {"B0": np.zeros((4, 4, 2)), "B1": np.full((4, 4, 2), 0.9)}
    >>> regions = {"tissue alone": fractions[1] == 0}
    >>> phantom = Phantom(tissues, fractions, fields, phase=np.zeros((4, 4, 2)), affine=np.eye(4), regions=regions)
    >>> phantom.parameter_map("T1")[:, 0, 0].round(2).tolist()
    [1.0, 2.67, 4.0, nan]
    >>> train = PulseSequence(np.full(20, 0.3), np.full(20, 0.3e-3), repetition_time=3.5e-3, inversion_duration=0.5e-3)
    >>> phantom.signal(BlochHybridStateModel(train)).shape
    (4, 4, 2, 20)
    >>> slab = phantom.slab(1, 2)
    >>> slab.shape, int(slab.dominated_by("water", fraction=0.5).sum())
    ((4, 4, 1), 8)

    That of the paper:

    >>> from crbestim.datasets import make_bsa_phantom
    >>> phantom = make_bsa_phantom(voxel_size=6)
    >>> round(float(phantom.parameter_map("T1")[phantom.regions["15 %"]].mean()), 2)
    0.84
    """

    tissues: pd.DataFrame
    fractions: FloatArray
    fields: Mapping[str, FloatArray]
    phase: FloatArray
    affine: FloatArray
    regions: Mapping[str, NDArray[np.bool_]]

    def __post_init__(self) -> None:
        if not isinstance(self.tissues, pd.DataFrame) or "density" not in self.tissues:
            raise TypeError("tissues must be a DataFrame with a column density.")
        fractions = _array(self.fractions, "fractions", (len(self.tissues), None, None, None))
        if (fractions < 0).any() or (fractions.sum(axis=0) > 1 + _SUM_TOLERANCE).any():
            raise ValueError("fractions must not be negative, and add up to 1 at most in every voxel.")
        shape = fractions.shape[1:]
        fields = {name: _array(field, f"fields[{name!r}]", shape) for name, field in self.fields.items()}
        regions = {name: np.asarray(mask) for name, mask in self.regions.items()}
        for name, mask in regions.items():
            if mask.dtype != bool or mask.shape != shape:
                raise ValueError(
                    f"regions[{name!r}] must be booleans of shape {shape}; got {mask.dtype} {mask.shape}."
                )
        checked = {
            "fractions": fractions,
            "fields": MappingProxyType(fields),
            "phase": _array(self.phase, "phase", shape),
            "affine": _array(self.affine, "affine", (4, 4)),
            "regions": MappingProxyType(regions),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Size of the volume in voxels."""
        return self.fractions.shape[1:]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Voxels that hold anything, (nx, ny, nz)."""
        return self.fractions.sum(axis=0) > 0

    def theta(self, tissue: str, where: NDArray[np.bool_]) -> pd.DataFrame:
        """Return a tissue's parameters with the fields of some voxels, as a signal model takes them.

        Parameters
        ----------
        tissue : str
            Name.
        where : ndarray of shape (nx, ny, nz)
            Mask of n voxels.

        Returns
        -------
        DataFrame of shape (n, P)
            In SI units; the columns are those of the tissues and the fields.

        Raises
        ------
        ValueError
            If there is no such tissue, or the mask does not fit.
        """
        intrinsic = self.tissues.iloc[self._row(tissue)].drop("density")
        where = np.asarray(where)
        if where.dtype != bool or where.shape != self.shape:
            raise ValueError(f"where must be booleans of shape {self.shape}; got {where.dtype} {where.shape}.")
        table = pd.DataFrame({name: field[where] for name, field in self.fields.items()})
        return table.assign(**intrinsic.astype(float))

    def signal(self, model: SignalModel, basis: ArrayLike | None = None) -> NDArray[np.complex64]:
        """Return the images of all echoes, or their coefficients, without noise.

        Parameters
        ----------
        model : SignalModel
            Its parameters are those of the tissues and the fields.
        basis : array_like of shape (T, k), optional
            Orthonormal: return the coefficients.

        Returns
        -------
        ndarray of shape (nx, ny, nz, T) or (nx, ny, nz, k)
            Complex; zero where there is air. All echoes of a large volume take much memory; pass a basis.

        Raises
        ------
        ValueError
            If the model has other parameters, or the basis does not fit.
        """
        n_channels = model.n_timepoints if basis is None else np.shape(basis)[-1]
        images = np.zeros((*self.shape, n_channels), dtype=np.complex64)
        for tissue, fraction in zip(self.tissues.index, self.fractions, strict=True):
            where = fraction > 0
            if where.any():
                amount = fraction[where] * self.tissues.loc[tissue, "density"]
                images[where] += amount[:, None] * model.signal(self.theta(tissue, where), basis)
        images *= np.exp(1j * self.phase)[..., None]
        return images

    def parameter_map(self, name: str) -> FloatArray:
        """Return a parameter's mean over what a voxel holds, weighted by volume fraction and proton density.

        In a voxel of a single tissue it is the truth. Where tissues mix there is none: the mixture of their signals is
        no signal of the model.

        Parameters
        ----------
        name : str
            Parameter of the tissues, or field.

        Returns
        -------
        ndarray of shape (nx, ny, nz)
            NaN in air.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        if name in self.fields:
            return np.where(self.mask, self.fields[name], np.nan)
        if name not in self.tissues:
            raise ValueError(f"name must be one of {[*self.tissues, *self.fields]}; got {name!r}.")
        amounts = self.fractions * self.tissues["density"].to_numpy()[:, None, None, None]
        with np.errstate(invalid="ignore"):
            return np.tensordot(self.tissues[name].to_numpy(), amounts, 1) / amounts.sum(axis=0)

    def slab(self, first: int, last: int) -> Phantom:
        """Return the slices of an axial slab, as an object of its own.

        Parameters
        ----------
        first, last : int
            Indices along the third axis; the last slice is not in the slab.

        Returns
        -------
        Phantom

        Raises
        ------
        ValueError
            If there are no such slices.
        """
        if not 0 <= first < last <= self.shape[2]:
            raise ValueError(f"first and last must be from 0 to {self.shape[2]}, first < last; got {first}, {last}.")
        affine = self.affine.copy()
        affine[:3, 3] += first * affine[:3, 2]
        return Phantom(
            self.tissues,
            self.fractions[..., first:last],
            {name: field[..., first:last] for name, field in self.fields.items()},
            self.phase[..., first:last],
            affine,
            {name: region[..., first:last] for name, region in self.regions.items()},
        )

    def dominated_by(self, tissue: str, fraction: float = 0.95) -> NDArray[np.bool_]:
        """Return the mask of the voxels of which a tissue fills at least a given fraction.

        Parameters
        ----------
        tissue : str
            Name.
        fraction : float, default=0.95
            Of the voxel's volume, above 0 and at most 1.

        Returns
        -------
        ndarray of bool, (nx, ny, nz)

        Raises
        ------
        TypeError, ValueError
            If there is no such tissue, or the fraction is none.
        """
        if check_positive(fraction, "fraction") > 1:
            raise ValueError(f"fraction must be above 0 and at most 1; got {fraction:g}. Is it in percent?")
        return self.fractions[self._row(tissue)] >= fraction

    def _row(self, tissue: str) -> int:
        names = list(self.tissues.index)
        if tissue not in names:
            raise ValueError(f"tissue must be one of {names}; got {tissue!r}.")
        return names.index(tissue)


def _array(values: ArrayLike, name: str, shape: tuple[int | None, ...]) -> FloatArray:
    """Return finite real numbers of a shape; None stands for any size."""
    array = numeric_array(values, name)
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    if array.dtype.kind == "c" or not fits:
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must be real numbers of shape ({expected}); got {array.dtype} of {array.shape}.")
    check_finite(array, name)
    return array
