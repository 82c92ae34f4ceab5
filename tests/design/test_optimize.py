import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from designs import LIMITS, SETTINGS, template, tissues
from killed import kill_when
from pandas.testing import assert_frame_equal
from sklearn.exceptions import ConvergenceWarning

from crbestim import (
    BlochHybridStateModel,
    FunctionModel,
    MonoExponentialModel,
    MTBlochModel,
    MTHybridStateModel,
    Parameter,
    Prior,
    PulseSequence,
    paper_prior,
)
from crbestim.datasets import truncated_normal
from crbestim.design import SequenceConstraints, compare_bounds, hybrid_state_error, optimize_sequence
from crbestim.design._search import Search

pytestmark = pytest.mark.filterwarnings("ignore:hybrid_state_error is:sklearn.exceptions.ConvergenceWarning")


def design(model=None, **changes):
    return optimize_sequence(MTHybridStateModel(template()) if model is None else model, **{**SETTINGS, **changes})


def same(a, b):
    assert a.sequence == b.sequence
    assert a.cost == b.cost
    assert_frame_equal(a.stages, b.stages)
    assert_frame_equal(a.history.drop(columns="seconds"), b.history.drop(columns="seconds"))
    assert a.complete == b.complete


@pytest.fixture(scope="module")
def reference():
    """The design that an uninterrupted run gives."""
    return design()


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("make", [MTHybridStateModel, MTBlochModel])
def test_limits_are_met(make, name):
    limits = LIMITS[name]
    result = design(make(template()), constraints=limits, refine_iter=40, max_iter=20, n_knots=20)
    assert result.complete
    assert (result.sequence.n_pulses, result.sequence.repetition_time) == (80, 3.5e-3)
    assert result.sequence.inversion_duration == template().inversion_duration
    expected = limits.table(result.sequence)
    assert expected["met"].all()
    assert_frame_equal(result.limits.loc[expected.index], expected)
    error = result.limits.index.difference(expected.index).tolist()
    assert error == (["hybrid_state_error"] if make is MTHybridStateModel and limits.hybrid_state_error else [])


def test_error_of_the_hybrid_state_is_limited():
    limits = SequenceConstraints(hybrid_state_error=0.05)
    free = design(constraints=replace(limits, hybrid_state_error=None), max_iter=30, refine_iter=100)
    limited = design(constraints=limits, max_iter=30, refine_iter=400)
    table = limits.table(free.sequence, np.exp(_mean_log_error(free)))
    assert not table["met"]["hybrid_state_error"]
    assert limited.limits["met"].all()
    assert limited.limits["highest"]["hybrid_state_error"] == pytest.approx(np.exp(_mean_log_error(limited)), rel=1e-4)
    assert limited.cost > free.cost


def _mean_log_error(result):
    return np.log(hybrid_state_error(result.model, result.theta)).mean()


def test_bounds_become_smaller_on_other_tissues():
    result = design(max_iter=40, refine_iter=60)
    table = compare_bounds(result.model, MTHybridStateModel(template()), tissues(200, seed=99))
    assert (table["median"] + 5 * table["standard_error"] < 1).all()


def test_result_tells_what_it_is(reference):
    assert reference.model == MTHybridStateModel(reference.sequence) or reference.model.sequence == reference.sequence
    theta = reference.theta
    assert theta.shape == (12, 7)
    before, after = (model.crb(theta) for model in (MTHybridStateModel(template()), reference.model))
    np.testing.assert_allclose(reference.bounds["before"], np.median(np.sqrt(before), axis=0), rtol=1e-9)
    np.testing.assert_allclose(reference.bounds["after"], np.median(np.sqrt(after), axis=0), rtol=1e-9)
    np.testing.assert_allclose(reference.bounds["ratio"], np.median(np.sqrt(after / before), axis=0), rtol=1e-9)
    assert list(reference.bounds.index) == ["m0s", "T1", "T2f"]
    assert reference.cost == pytest.approx(0.5 * np.log(after).mean())
    history = reference.history
    names = ["start 0", "start 1", "hop 0", "hop 1", "refinement 0", "refinement 1"]
    assert list(reference.stages.index) == names
    assert list(history["stage"].unique()) == names
    assert (reference.stages["iterations"] == history.groupby("stage", sort=False).size()).all()
    for _, stage in history.groupby("stage"):
        assert list(stage["iteration"]) == list(range(1, len(stage) + 1))
        assert stage["objective"].is_monotonic_decreasing
    assert history["seconds"].is_monotonic_increasing


def test_same_seed_same_design(reference):
    same(design(), reference)


def test_other_seed_other_design(reference):
    assert design(random_state=4).sequence != reference.sequence


@pytest.mark.parametrize("n_evaluations", [1, 9, 15, 25, 40])
def test_interrupted_design_goes_on_to_the_same_result(tmp_path, monkeypatch, reference, n_evaluations):
    path = tmp_path / "design.npz"
    from crbestim.design._recorder import OutOfTimeError, Recorder

    evaluate = Recorder.evaluate
    counter = iter(range(n_evaluations))

    def limited(self, *arguments):
        if next(counter, None) is None:
            raise OutOfTimeError
        return evaluate(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "evaluate", limited)
        part = design(checkpoint=path)
    assert not part.complete
    assert path.exists()
    same(design(checkpoint=path), reference)
    same(design(checkpoint=path), reference)


def test_interruption_from_the_keyboard_keeps_the_record(tmp_path, monkeypatch, reference):
    path = tmp_path / "design.npz"
    from crbestim.design._objective import Objective

    call, counter = Objective.__call__, iter(range(12))

    def interrupted(self, knots):
        if next(counter, None) is None:
            raise KeyboardInterrupt
        return call(self, knots)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            design(checkpoint=path)
    same(design(checkpoint=path), reference)


def _design_slowly(path):
    from crbestim.design import _recorder
    from crbestim.design._objective import Objective

    _recorder._PERIOD, _recorder._SHARE = 0.0, float("inf")
    call = Objective.__call__

    def slow(self, knots):
        time.sleep(0.1)
        return call(self, knots)

    Objective.__call__ = slow
    design(checkpoint=path)


def test_killed_design_goes_on_to_the_same_result(tmp_path, reference):
    path = tmp_path / "design.npz"
    kill_when(path.exists, _design_slowly, path)
    same(design(checkpoint=path), reference)


def test_time_is_up():
    result = design(time_budget=1e-6)
    assert not result.complete
    assert len(result.history) == 0
    assert result.sequence.n_pulses == 80
    assert design(time_budget=3600.0).complete


def test_checkpoint_of_another_design_is_refused(tmp_path):
    path = tmp_path / "design.npz"
    design(checkpoint=path, time_budget=0.2)
    for change in (
        {"max_iter": 9},
        {"targets": "T1"},
        {"weights": [1, 1, 2]},
        {"constraints": SequenceConstraints(rf_power=1e5)},
        {"random_state": 4},
        {"model": MTHybridStateModel(template(), saturation="generalized-bloch")},
        {"n_knots": 10},
        {"n_hops": 1},
        {"n_starts": 3},
        {"known": "B1"},
        {"cost": "relative"},
    ):
        with pytest.raises(ValueError, match="belongs to a design with other data or settings"):
            design(checkpoint=path, **change)


def test_weights_shift_the_design():
    t1, t2 = (
        design(targets=["T1", "T2f"], weights=weights, max_iter=30, refine_iter=40)
        for weights in ({"T1": 9.0, "T2f": 1.0}, [1.0, 9.0])
    )
    assert t1.bounds["after"]["T1"] < t2.bounds["after"]["T1"]
    assert t1.bounds["after"]["T2f"] > t2.bounds["after"]["T2f"]


def test_start_at_the_sequence():
    result = design(init="sequence", n_starts=1, n_hops=0, n_knots=80, refine_iter=0)
    plain = design(init="sequence", n_starts=1, n_hops=0, n_knots=80, refine_iter=0, max_iter=1, time_budget=1e-6)
    for name in ("flip_angle", "pulse_duration"):
        values = getattr(template(), name)
        np.testing.assert_allclose(getattr(plain.sequence, name), values, atol=0.02 * np.ptp(values) + 1e-9)
    assert (result.bounds["ratio"] < 1).any()


def test_tissues_instead_of_a_prior():
    theta = tissues(10)
    result = design(theta=theta)
    columns = list(theta.columns)
    assert_frame_equal(
        result.theta[columns].sort_values("T1", ignore_index=True), theta.sort_values("T1", ignore_index=True)
    )


def test_bar_ends_at_its_total(capsys):
    design(progress=True)
    assert "100%" in capsys.readouterr().err


def test_without_refinement_the_best_of_the_search_is_returned():
    result = design(refine_iter=0)
    assert result.complete
    assert list(result.stages.index) == ["start 0", "start 1", "hop 0", "hop 1"]


@pytest.mark.parametrize(("refine_iter", "rounds"), [(1, [1]), (50, [25, 25]), (103, [20, 21, 20, 21, 21])])
def test_rounds_of_the_refinement(monkeypatch, refine_iter, rounds):
    asked = []
    minimise = Search.minimise

    def watched(self, stage, objective, begin, n_iter):
        asked.append((stage, n_iter))
        return minimise(self, stage, objective, begin, 1)

    monkeypatch.setattr(Search, "minimise", watched)
    design(refine_iter=refine_iter)
    assert asked[4:] == [(f"refinement {i}", n) for i, n in enumerate(rounds)]


def test_a_limit_that_is_missed_is_told():
    limits = SequenceConstraints(hybrid_state_error=0.001)
    with pytest.warns(ConvergenceWarning, match="hybrid_state_error is .*, above its limit of 0.001; more iterations"):
        assert not design(constraints=limits).limits["met"].all()


def test_names_of_weights_count():
    weights = {"T2f": 1.0, "m0s": 50.0, "T1": 2.0}
    expected = design(weights=[50.0, 2.0, 1.0])
    same(design(weights=weights), expected)
    same(design(weights=pd.Series(weights)), expected)


def test_representation_is_short(reference):
    assert repr(reference).startswith("SequenceDesign(80 pulses, cost=")
    assert len(repr(reference)) < 100


def test_rows_in_messages_are_those_of_the_user():
    theta = tissues(12)
    theta.loc[7, "B1"] = 0.0
    with pytest.raises(ValueError, match="no pulses tell m0s in tissue 7"):
        design(theta=theta)
    theta = tissues(12)
    theta.loc[7, "m0s"] = 0.0
    with pytest.raises(ValueError, match="m0s is, in tissue 7"):
        design(theta=theta, cost="relative")


def test_durations_that_are_fixed_are_not_differenced():
    counted = []

    def make_model(sequence):
        counted.append(sequence)
        return spoiled_train(sequence)

    sequence = PulseSequence(np.full(12, 0.1), np.full(12, 3e-4), 50e-3, 5e-4)
    result = design(
        make_model, prior=Prior({"T1": truncated_normal(1.0, 0.3, 0.4, 2.0)}), sequence=sequence, n_knots=4,
        max_iter=2, refine_iter=1, n_tissues=4, n_hops=0,
        constraints=SequenceConstraints(flip_angle=(0.0, 1.5), pulse_duration=(3e-4, 3e-4)),
    )  # fmt: skip
    assert len(counted) <= 6 * result.stages["evaluations"].sum() + 10
    assert (result.sequence.pulse_duration == 3e-4).all()


def test_targets_that_no_train_tells():
    with pytest.raises(ValueError, match="No train of 6 pulses was found that tells the targets"):
        design(MTHybridStateModel(template(6)), constraints=SequenceConstraints(hybrid_state_error=None))


def test_infinite_neighbours_are_no_direction():
    from crbestim.design._controls import PulseControls
    from crbestim.design._cost import BoundCost
    from crbestim.design._objective import Objective

    model = MTHybridStateModel(template(6))
    controls = PulseControls(template(6), SequenceConstraints(), 4)
    cost = BoundCost("log", model.check_theta(tissues()), model, ("T1",), (), np.ones(1))
    objective = Objective(model.with_sequence, controls, cost, SequenceConstraints(hybrid_state_error=None))
    for value, gradient in (objective(np.full(8, 0.4)), objective._differences(np.full(8, 0.4))):
        assert value == np.inf
        assert not gradient.any()


# --- other models ---------------------------------------------------------------------------------


def test_single_pool():
    prior = Prior(
        {
            "T1": truncated_normal(1.6, 0.5, 0.3, 4.0),
            "T2": truncated_normal(0.08, 0.02, 0.02, 0.2),
            "B0": truncated_normal(0.0, 300.0, -700.0, 700.0),
            "B1": truncated_normal(1.0, 0.2, 0.5, 1.5),
        }
    )
    result = design(BlochHybridStateModel(template()), prior=prior, max_iter=30, refine_iter=200)
    assert list(result.bounds.index) == ["T1", "T2"]
    assert (result.bounds["ratio"] < 1).all()
    assert result.limits["met"].all()


def spoiled_train(sequence):
    """A model of one's own: a spoiled gradient echo whose longitudinal magnetisation follows the pulses."""
    flip_angle = torch.tensor(sequence.flip_angle.copy())

    def signal(T1):
        recovery, z, echoes = torch.exp(-sequence.repetition_time / T1), -torch.ones_like(T1), []
        for alpha in flip_angle:
            echoes.append(z * torch.sin(alpha))
            z = 1 - (1 - z * torch.cos(alpha)) * recovery
        return torch.stack(echoes)

    return FunctionModel(signal, (Parameter("T1", "T_1", "s", (0.0, 10.0), closed="neither"),))


def test_function_that_makes_a_model_is_designed_by_differences():
    sequence = PulseSequence(np.full(20, 0.1), np.full(20, 3e-4), 50e-3, 5e-4)
    prior = Prior({"T1": truncated_normal(1.0, 0.3, 0.4, 2.0)})
    result = design(
        spoiled_train, prior=prior, sequence=sequence, n_knots=5, max_iter=10, refine_iter=10, n_tissues=8,
        constraints=SequenceConstraints(flip_angle=(0.0, 1.5)),
    )  # fmt: skip
    assert result.bounds["ratio"]["T1"] < 0.7
    assert isinstance(result.model, FunctionModel)


def test_differences_agree_with_the_adjoint():
    from crbestim.design._controls import PulseControls
    from crbestim.design._cost import BoundCost
    from crbestim.design._objective import Objective

    model = MTHybridStateModel(template())
    limits = SequenceConstraints(rf_power=1e5, hybrid_state_error=0.02)
    controls = PulseControls(template(), limits, 10)
    cost = BoundCost("log", model.check_theta(tissues()), model, ("T1", "T2f"), (), np.ones(2))
    objective = Objective(model.with_sequence, controls, cost, limits)
    objective.multipliers[:] = 0.3, 0.4
    knots = np.random.default_rng(1).uniform(0.1, 0.9, 20)
    value, gradient = objective(knots)
    by_difference = objective._differences(knots)
    assert value == pytest.approx(by_difference[0])
    np.testing.assert_allclose(gradient, by_difference[1], rtol=0, atol=1e-4 * np.abs(gradient).max())


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": template()}, TypeError, "model must be an MTHybridStateModel.*or a function"),
        ({"model": MonoExponentialModel([0.1])}, TypeError, "model must be an MTHybridStateModel.*or a function"),
        ({"model": MTHybridStateModel}, TypeError, "model is the class MTHybridStateModel; give an instance"),
        ({"model": lambda s: s}, TypeError, "sequence must be a PulseSequence when model is a function"),
        ({"model": lambda s: s, "sequence": template()}, TypeError, "model must return a SignalModel"),
        ({"sequence": template()}, ValueError, "sequence is only for a function"),
        ({"constraints": {"rf_power": 1e5}}, TypeError, "constraints must be SequenceConstraints"),
        ({"constraints": SequenceConstraints(pulse_duration=(1e-4, 4e-3))}, ValueError, "repetition time"),
        ({"n_tissues": 0}, ValueError, "n_tissues"),
        ({"n_starts": 1.5}, TypeError, "n_starts"),
        ({"n_hops": -1}, ValueError, "n_hops"),
        ({"max_iter": 0}, ValueError, "max_iter"),
        ({"refine_iter": -1}, ValueError, "refine_iter"),
        ({"n_knots": 3}, ValueError, "n_knots"),
        ({"n_knots": 81}, ValueError, "n_knots must not exceed the number of pulses, 80"),
        ({"init": "published"}, ValueError, "init must be one of"),
        ({"cost": "mean"}, ValueError, "cost must be one of"),
        ({"targets": "T3"}, ValueError, "targets"),
        ({"weights": [1.0, 2.0]}, ValueError, "weights must be a positive number for each target"),
        ({"weights": [1.0, 2.0, 0.0]}, ValueError, "weights must be a positive number for each target"),
        ({"weights": {"T1": 1.0}}, ValueError, "weights must name the targets"),
        ({"time_budget": -1.0}, ValueError, "time_budget"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a path"),
        ({"checkpoint": "no/such/directory/x.npz"}, ValueError, "directory"),
        ({"checkpoint": "x.npz", "random_state": None}, ValueError, "checkpoint needs an int as random_state"),
        ({"theta": tissues(), "prior": paper_prior()}, ValueError, "prior and theta must not both be given"),
        ({"theta": tissues().assign(T1=-1.0)}, ValueError, "T1 must lie in"),
        ({"theta": tissues().assign(B1=0.0)}, ValueError, "no pulses tell m0s in tissue 0, m0s = "),
        ({"model": MTHybridStateModel(template(3))}, ValueError, "must have at least 4 pulses"),
        ({"model": MTHybridStateModel(template(), separate_T1=True), "theta": tissues().assign(T1s=0.3)}, ValueError,
         "must have one T1.*hybrid_state_error=None"),
        ({"random_state": -1}, ValueError, "random_state must be an int that is not negative"),
        ({"random_state": "a"}, TypeError, "random_state must be an int that is not negative"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        design(**changes)


def test_separate_t1_without_limit_of_the_hybrid_state():
    model = MTHybridStateModel(template(), separate_T1=True)
    result = design(model, theta=tissues().assign(T1s=0.3), constraints=SequenceConstraints(hybrid_state_error=None))
    assert (result.bounds["ratio"] < 1).any()


def test_frames_have_the_right_types(reference):
    for frame in (reference.stages, reference.history, reference.bounds, reference.limits, reference.theta):
        assert isinstance(frame, pd.DataFrame)
