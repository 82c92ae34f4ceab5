"""Minimisations by L-BFGS-B, one after the other, that can be interrupted."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import OptimizeResult, minimize
from tqdm.auto import tqdm

from .._validation import FloatArray
from ._controls import PulseControls
from ._objective import Objective
from ._recorder import Recorder

_VERY_LARGE = 1e10


class Search:
    """Minimisations one after the other: their best knots, the record of their evaluations, and the progress bar."""

    best: FloatArray
    controls: PulseControls

    def __init__(self, recorder: Recorder, bar: tqdm) -> None:
        self._recorder, self._bar = recorder, bar
        self.least = np.inf
        self.history: list[tuple[str, int, float, float]] = []
        self._stages: list[tuple[str, float, int, int]] = []

    def minimise(self, stage: str, objective: Objective, begin: FloatArray, n_iter: int) -> None:
        """Minimise, and keep the best knots if they are better than those of the stages before."""
        if not hasattr(self, "best"):
            self.best, self.controls = begin, objective.controls
        number, iterations, evaluations, seconds, lowest = len(self._stages), 0, 0, 0.0, np.inf

        def function(knots: FloatArray) -> tuple[float, FloatArray]:
            nonlocal evaluations, seconds, lowest
            value, gradient, seconds = self._recorder.evaluate(objective, number, knots)
            evaluations += 1
            lowest = min(lowest, value)
            if value < self.least:
                self.least, self.best, self.controls = value, knots.copy(), objective.controls
            if np.isfinite(value) and np.isfinite(gradient).all():
                return value, gradient
            return _VERY_LARGE, np.zeros_like(gradient)  # the line search steps back from where a bound is infinite

        def callback(intermediate_result: OptimizeResult) -> None:
            nonlocal iterations
            iterations += 1
            self.history.append((stage, iterations, float(intermediate_result.fun), seconds))
            self._bar.set_postfix({"stage": stage, "objective": f"{self.least:.4f}"}, refresh=False)
            self._bar.update()

        options = {"maxiter": n_iter, "maxfun": 20 * n_iter, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-9}
        try:
            if n_iter:
                limits = [(0.0, 1.0)] * len(begin)
                minimize(
                    function, begin, jac=True, method="L-BFGS-B", bounds=limits, callback=callback, options=options
                )
        finally:
            self._stages.append((stage, lowest, iterations, evaluations))
        self._bar.update(n_iter - iterations)

    def stages(self) -> pd.DataFrame:
        """Return what became of each stage."""
        table = pd.DataFrame(self._stages, columns=["stage", "objective", "iterations", "evaluations"])
        return table.set_index("stage")

    def close(self) -> None:
        """Keep the record and end the bar."""
        try:
            self._recorder.write()
        finally:
            self._bar.close()
