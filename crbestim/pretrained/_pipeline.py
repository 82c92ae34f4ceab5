"""A pipeline that came from a file, and knows what it was trained with."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone

from ..datasets import Prior
from ..estimators import Pipeline
from ..noise import NoiseModel
from ..signal import Parameter, PulseSequence, SignalModel
from ._format import Header
from ._matching import check_same_basis, check_same_sequence


@dataclass(frozen=True)
class Origin:
    """What a file tells beside the pipeline itself."""

    model: SignalModel | None
    parameters: tuple[Parameter, ...] | None
    sequence: PulseSequence | None
    prior: Prior | None
    prior_table: pd.DataFrame | None
    header: Header


class PretrainedPipeline(Pipeline):
    """A trained pipeline that was read from a file by `load_pretrained`.

    It predicts as the one that was saved, to the last bit, on the same machine and with the same versions. What it
    was trained with is told by the attributes below, until it is fitted anew. Its clone is a `Pipeline` of the same
    settings and the same basis that is not trained.

    Parameters
    ----------
    steps : list of estimators or of (str, estimator)
        Transformers and a final estimator.
    transform_input, memory, verbose
        As for `sklearn.pipeline.Pipeline`.

    Attributes
    ----------
    model_ : SignalModel or None
        The signal model, if it can be rebuilt; otherwise `header_` has its name.
    parameters_ : tuple of Parameter or None
        Names, symbols, units and ranges of the model's parameters, if the network was saved with a model.
    sequence_ : PulseSequence or None
        The pulse train, if the model has one.
    prior_ : Prior or None
        Where the tissues of the training were drawn from, if it can be rebuilt.
    prior_table_ : DataFrame or None
        One row a parameter of the prior: mean, standard deviation and the quantiles of 0.5 %, 50 % and 99.5 %.
    noise_ : NoiseModel or None
        Amplitudes and noise of the training, for coefficients.
    target_names_ : list of str or None
        Names of the columns of what `predict` returns.
    history_ : DataFrame
        Losses, learning rate and time of each epoch.
    versions_ : dict of str to str
        Versions of this package and of those it relies on with which the network was saved.
    card_ : str
        Model card, in Markdown.
    header_ : dict
        All entries of the file but its tensors.

    Examples
    --------
    >>> from crbestim import PulseSequence, load_pretrained
    >>> pipe = load_pretrained("mt-hybrid-state")
    >>> type(pipe).__name__, pipe.target_names_
    ('PretrainedPipeline', ['m0s', 'T1', 'T2f'])
    >>> pipe.model_.n_timepoints, pipe[0].basis_.shape
    (1141, (1141, 13))
    >>> [parameter.label for parameter in pipe.parameters_[:2]]
    ['$m_0^s$', '$T_1$ [s]']
    >>> pipe.prior_table_.index.tolist()
    ['m0s', 'T1', 'T2f', 'Rx', 'T2s', 'B0', 'B1']
    >>> pipe.check_matches(sequence=PulseSequence.default(), basis=pipe[0].basis_)  # of the measurement; fits
    """

    _file: Origin

    @classmethod
    def _of(cls, steps: list[tuple[str, Any]], origin: Origin) -> PretrainedPipeline:
        """Return a pipeline of fitted steps with its origin."""
        pipeline = cls(steps)
        pipeline._file = origin
        return pipeline

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        crb: ArrayLike | None = None,
        covariates: ArrayLike | pd.DataFrame | None = None,
        **params: Any,
    ) -> PretrainedPipeline:
        """Train anew, as `Pipeline.fit`, and forget what was known of the training before.

        Parameters
        ----------
        X, y, crb, covariates, **params
            As for `Pipeline.fit`.

        Returns
        -------
        PretrainedPipeline
            Itself.

        Raises
        ------
        TypeError, ValueError
            As `Pipeline.fit`.
        """
        self.__dict__.pop("_file", None)
        super().fit(X, y, crb=crb, covariates=covariates, **params)
        return self

    def check_matches(self, sequence: PulseSequence | None = None, basis: ArrayLike | None = None) -> None:
        """Check that data were measured, or reconstructed, as the network expects it.

        Parameters
        ----------
        sequence : PulseSequence, optional
            The pulse train of the measurement.
        basis : array_like of shape (T, k), optional
            The basis of the coefficients.

        Raises
        ------
        TypeError
            If they are of the wrong type.
        ValueError
            If they differ from those of the training by more than single precision, with what differs; or if the
            network was saved without a sequence.
        """
        if sequence is not None:
            trained = self.sequence_
            if trained is None:
                raise ValueError("sequence cannot be checked: the network was saved without one.")
            check_same_sequence(sequence, trained)
        if basis is not None:
            check_same_basis(basis, self.steps[0][1].basis_)

    @property
    def model_(self) -> SignalModel | None:
        """The signal model, if it can be rebuilt."""
        return self._origin.model

    @property
    def parameters_(self) -> tuple[Parameter, ...] | None:
        """The model's parameters."""
        return self._origin.parameters

    @property
    def sequence_(self) -> PulseSequence | None:
        """The pulse train, if the model has one."""
        return self._origin.sequence

    @property
    def prior_(self) -> Prior | None:
        """The prior, if it can be rebuilt."""
        return self._origin.prior

    @property
    def prior_table_(self) -> pd.DataFrame | None:
        """Mean, standard deviation and quantiles of the prior."""
        table = self._origin.prior_table
        return None if table is None else table.copy()

    @property
    def noise_(self) -> NoiseModel | None:
        """Amplitudes and noise of the training."""
        return self._trained.noise

    @property
    def target_names_(self) -> list[str] | None:
        """Names of the targets."""
        return copy.copy(self._trained.target_names_)

    @property
    def history_(self) -> pd.DataFrame:
        """Losses, learning rate and time of each epoch."""
        return self._trained.history_

    @property
    def versions_(self) -> dict[str, str]:
        """Versions with which the network was saved."""
        return dict(self._origin.header["versions"])

    @property
    def card_(self) -> str:
        """Model card, in Markdown."""
        return self._origin.header["card"]

    @property
    def header_(self) -> Header:
        """All entries of the file but its tensors."""
        return copy.deepcopy(self._origin.header)

    @property
    def _origin(self) -> Origin:
        if "_file" not in vars(self):
            raise AttributeError("It was fitted anew, or not read from a file: nothing is known of its origin.")
        return self._file

    @property
    def _trained(self) -> Any:
        return self.steps[-1][1]

    def __sklearn_clone__(self) -> Pipeline:
        steps: Sequence[Any] = [(name, clone(step)) for name, step in self.steps]
        return Pipeline(steps, transform_input=self.transform_input, memory=self.memory, verbose=self.verbose)
