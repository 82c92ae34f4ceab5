"""Bounds, signal models, pulse trains and priors."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

import crbestim
from crbestim import design

from . import material
from .arguments import Argument, Call

TWO_POOLS = ("m0s", "T1", "T2f", "Rx", "T2s", "B0", "B1")
MILLISECONDS = {"times": ("T1", "T2f", "T2s")}
OPTIONAL = {"None": "as if not given"}


def noise_std(**changes: Any) -> Argument:
    return Argument(**({"value": 0.5, "kind": "number", "positive": True} | changes))


def tissues(**changes: Any) -> Argument:
    return Argument(
        **({"value": material.two_pool_tissues(), "fixed_axes": (1,), "columns": TWO_POOLS, **MILLISECONDS} | changes)
    )


def basis(n_rows: int, k: int, **changes: Any) -> Argument:
    return Argument(
        **(
            {
                "value": material.orthonormal(n_rows, k),
                "numbers": "either",
                "fixed_axes": (0,),
                "orthonormal": True,
                "documented": OPTIONAL,
            }
            | changes
        )
    )


def covariance(size: int, **changes: Any) -> Argument:
    return Argument(
        **(
            {
                "value": material.covariance(size),
                "numbers": "either",
                "fixed_axes": (0, 1),
                "documented": OPTIONAL,
            }
            | changes
        )
    )


def names(*value: str, **changes: Any) -> Argument:
    return Argument(**({"value": value, "kind": "names"} | changes))


def _jacobian() -> dict[str, Argument]:
    values = material.two_pools().jacobian(material.two_pool_tissues()[:1])[0, :, :3]
    return {
        "jacobian": Argument(values + 0.1j, numbers="either", fixed_axes=(0,), documented={
            "one dimension more": "more samples",
            "real for complex": "real data",
        }),
        "noise_std": noise_std(),
        "covariance": covariance(material.N_PULSES),
    }  # fmt: skip


def _theta_and_basis() -> dict[str, Argument]:
    return {"theta": tissues(), "basis": basis(material.N_PULSES, 8)}


def _bound() -> dict[str, Argument]:
    return _theta_and_basis() | {
        "covariance": covariance(material.N_PULSES),
        "targets": names("m0s", "T1", documented={"None": "the default ones"}),
        "known": names("B0", "B1", documented={"no names": "nothing is known"}),
    }


def _decay_theta(**changes: Any) -> Argument:
    return Argument(
        **(
            {
                "value": np.array([[0.05], [0.09], [0.12]]),
                "fixed_axes": (1,),
                "columns": ("T2",),
                "times": ("T2",),
            }
            | changes
        )
    )


def _function_theta() -> Argument:
    values = np.array([[1.0, 0.05], [1.4, 0.09], [0.8, 0.12]])
    return Argument(values, fixed_axes=(1,), columns=("T1", "T2"), times=("T1", "T2"))


def _times(values: Any, **changes: Any) -> Argument:
    return Argument(**({"value": np.array(values), "times": ("all",)} | changes))


def _train() -> dict[str, Argument]:
    return {
        "flip_angle": Argument(material.flip_angles(), fixed_axes=(0,), angles=True),
        "pulse_duration": Argument(material.pulse_durations(), fixed_axes=(0,), positive=True, times=("all",)),
        "repetition_time": Argument(3.5e-3, "number", positive=True, times=("all",)),
        "inversion_duration": Argument(5e-4, "number", positive=True, times=("all",)),
    }


def _arrays_of(sequence: crbestim.PulseSequence) -> dict[str, Any]:
    return {name: getattr(sequence, name) for name in ("flip_angle", "pulse_duration", "repetition_time")}


def _parameter(name: str, unit: str, bounds: Any, closed: str) -> Any:
    parameter = crbestim.Parameter(name, "x", unit, bounds, closed=closed)
    return [*parameter.bounds, parameter.interval, parameter.label]


def _bounds_argument() -> Argument:
    return Argument(
        np.array([0.5, 3.0]),
        fixed_axes=(0,),
        documented={"infinity": "an open range", "minus infinity": "an open range", "huge": "an open range"},
    )


def _prior(low: Any) -> Any:
    return crbestim.Prior({"T1": low}).sample(3, random_state=0)


def _fingerprints(**given: Any) -> Any:
    return dict(
        crbestim.make_fingerprints(
            material.two_pools(), **({"n_samples": 4, "random_state": 0, "progress": False} | given)
        )
    )


def _grid(**axes: Any) -> Any:
    return crbestim.make_grid(axes, crbestim.Prior({"T1": stats.uniform(0.5, 2.0), "B1": stats.uniform(0.8, 0.4)}))


def _axis(value: Any, name: str, **changes: Any) -> Argument:
    return Argument(**({"value": np.array(value), "synonyms": (f"axes['{name}']", "axes")} | changes))


def _model_calls() -> list[Call]:
    two_pools, decay, function = material.two_pools(), material.decay(), material.function_model()
    echo_basis = {"basis": basis(len(material.ECHO_TIMES), 3)}
    calls = []
    for model, theta, extra in (
        (two_pools, tissues, {"basis": basis(material.N_PULSES, 8)}),
        (decay, _decay_theta, echo_basis),
        (function, _function_theta, echo_basis),
    ):
        title = type(model).__name__
        for method in ("signal", "jacobian"):
            calls.append(
                Call(f"{title}.{method}", getattr(model, method), lambda t=theta, e=extra: {"theta": t(), **e})
            )
        if model is not two_pools:
            calls.append(
                Call(
                    f"{title}.crb",
                    model.crb,
                    lambda t=theta, e=extra: {"theta": t(), **e, "covariance": covariance(len(material.ECHO_TIMES))},
                    holds=("inf",),
                )
            )
    calls.append(Call("MTHybridStateModel.crb", two_pools.crb, _bound, holds=("inf",), weight=2.0))
    calls.append(
        Call(
            "MTHybridStateModel.target_values",
            two_pools.target_values,
            lambda: {"theta": tissues(), "targets": names("m0s", "B0", documented={"None": "the default ones"})},
        )
    )
    return calls


CALLS = [
    Call("cramer_rao_bound", crbestim.cramer_rao_bound, _jacobian, holds=("inf",), weight=2.0),
    Call("fisher_information", crbestim.fisher_information, _jacobian, weight=2.0),
    *_model_calls(),
    Call(
        "MonoExponentialModel",
        lambda echo_times: crbestim.MonoExponentialModel(echo_times).signal([[0.08]]),
        lambda: {"echo_times": _times([0.02, 0.04, 0.08])},
    ),
    Call(
        "InversionRecoveryModel",
        lambda inversion_times: crbestim.InversionRecoveryModel(inversion_times).signal([[1.0, 0.95]]),
        lambda: {"inversion_times": _times([0.2, 0.7, 2.0])},
    ),
    Call(
        "MultiEchoGradientEchoModel",
        lambda echo_times: crbestim.MultiEchoGradientEchoModel(echo_times).signal([[0.04, 20.0]]),
        lambda: {"echo_times": _times([0.003, 0.006, 0.009])},
    ),
    Call(
        "VariableFlipAngleModel",
        lambda flip_angles, repetition_time: crbestim.VariableFlipAngleModel(flip_angles, repetition_time).signal(
            [[1.2, 1.0]]
        ),
        lambda: {
            "flip_angles": Argument(np.array([0.05, 0.2, 0.4]), angles=True),
            "repetition_time": Argument(5e-3, "number", positive=True, times=("all",)),
        },
    ),
    Call(
        "InversionRecoveryMTModel",
        lambda inversion_times, pulse_durations, T2f: crbestim.InversionRecoveryMTModel(
            inversion_times, pulse_durations, T2f
        ).signal([[0.1, 1.0, 60.0, 1e-5, 0.95]]),
        lambda: {
            "inversion_times": _times([0.1, 0.5, 2.0, 5.0], fixed_axes=(0,), synonyms=("inversion times",)),
            "pulse_durations": Argument(np.array([1e-4, 3e-4, 1e-3, 2e-3]), fixed_axes=(0,), positive=True),
            "T2f": Argument(0.07, "number", positive=True),
        },
    ),
    Call("PulseSequence", lambda **given: _arrays_of(crbestim.PulseSequence(**given)), _train, weight=2.0),
    Call(
        "Parameter",
        _parameter,
        lambda: {
            "name": Argument("T1", "object", documented={"a word": "a name"}),
            "unit": Argument("s", "object", documented={"a word": "a unit"}),
            "bounds": _bounds_argument(),
            "closed": Argument("both", "object"),
        },
        holds=("inf",),
    ),
    Call(
        "Prior",
        _prior,
        lambda: {"low": Argument(stats.uniform(0.5, 2.0), "object", synonyms=("distributions",))},
    ),
    Call(
        "Prior.sample",
        crbestim.paper_prior().sample,
        lambda: {
            "n_samples": Argument(3, "count"),
            "random_state": Argument(0, "object", documented={"a boolean": "a seed"}),
            "method": Argument("sobol", "object"),
        },
    ),
    Call(
        "Prior.transform",
        material.decay_prior().transform,
        lambda: {"uniform": Argument(np.array([[0.2], [0.5], [0.9]]), fixed_axes=(1,))},
    ),
    Call(
        "paper_prior",
        lambda repetition_time: crbestim.paper_prior(repetition_time).sample(2, random_state=0),
        lambda: {"repetition_time": Argument(3.5e-3, "number", positive=True, times=("all",))},
    ),
    Call(
        "datasets.truncated_normal",
        lambda **given: crbestim.datasets.truncated_normal(**given).ppf([0.2, 0.7]),
        lambda: {
            "mean": Argument(1.0, "number"),
            "std": Argument(0.5, "number", positive=True),
            "low": Argument(0.1, "number", documented={"several numbers": "a distribution for each"}),
            "high": Argument(2.0, "number", documented={"several numbers": "a distribution for each"}),
        },
    ),
    Call(
        "make_fingerprints",
        _fingerprints,
        lambda: {
            "theta": tissues(documented={"None": "tissues are drawn from the prior"}),
            "basis": basis(material.N_PULSES, 8),
            "covariance": covariance(material.N_PULSES),
            "targets": names("m0s", "T1", documented={"None": "the default ones"}),
            "n_samples": Argument(
                4,
                "count",
                documented={"None": "not used beside theta"}
                | dict.fromkeys(
                    (
                        "an integer of NumPy",
                        "several numbers",
                        "an empty list",
                        "NaN",
                        "infinity",
                        "a complex number",
                        "a word",
                        "another type",
                        "a boolean",
                        "bytes",
                        "no positive integer",
                    ),
                    "not used beside theta",
                ),
            ),
        },
        holds=("inf",),
    ),
    Call(
        "make_grid",
        _grid,
        lambda: {"T1": _axis([0.8, 1.2], "T1"), "B1": _axis([0.9, 1.0, 1.1], "B1")},
    ),
    Call(
        "design.SequenceConstraints",
        lambda **given: design.SequenceConstraints(**given).table(material.sequence()).to_numpy(float),
        lambda: {
            "flip_angle": Argument(
                np.array([0.0, 3.0]), fixed_axes=(0,), angles=True, documented={"torch tensor": "a pair"}
            ),
            "pulse_duration": Argument(
                np.array([1e-4, 2e-3]),
                fixed_axes=(0,),
                positive=True,
                times=("all",),
                documented={"torch tensor": "a pair"},
            ),
            "rf_amplitude": Argument(9e3, "number", positive=True),
            "rf_power": Argument(2e5, "number", positive=True, documented={"None": "no limit"}),
            "hybrid_state_error": Argument(0.1, "number", positive=True, documented={"None": "no limit"}),
        },
        holds=("nan",),
    ),
    Call(
        "design.compare_bounds",
        lambda **given: design.compare_bounds(material.two_pools(), material.two_pools(), **given),
        lambda: {
            "theta": tissues(),
            "targets": names("m0s", "T1", documented={"None": "the default ones"}),
            "n_resamples": Argument(5, "count"),
        },
        holds=("nan",),
    ),
    Call(
        "design.hybrid_state_error",
        lambda theta: design.hybrid_state_error(material.two_pools(), theta),
        lambda: {"theta": tissues()},
        holds=("nan",),
    ),
]
