from dataclasses import replace

import numpy as np
import pytest
from designs import template, tissues

from crbestim import BlochHybridStateModel, MTHybridStateModel
from crbestim.design import compare_bounds


def test_medians_and_percentiles():
    other = replace(template(), flip_angle=0.8 * template().flip_angle)
    model, reference, theta = MTHybridStateModel(other), MTHybridStateModel(template()), tissues(60)
    table = compare_bounds(model, reference, theta, ["T1", "T2f"])
    ratio = np.sqrt(model.crb(theta, ["T1", "T2f"]) / reference.crb(theta, ["T1", "T2f"]))
    for column, level in (("median", 0.5), ("5 %", 0.05), ("95 %", 0.95)):
        np.testing.assert_allclose(table[column][:2], np.quantile(ratio, level, axis=0, method="inverted_cdf"))
    np.testing.assert_allclose(table["worse"][:2], (ratio > 1).mean(axis=0))
    assert table["median"]["geometric mean"] == pytest.approx(np.sqrt(table["median"]["T1"] * table["median"]["T2f"]))
    assert (table["n"] == 60).all()


def test_standard_error_is_that_of_repeated_samples():
    other = replace(template(), flip_angle=0.8 * template().flip_angle)
    model, reference = MTHybridStateModel(other), MTHybridStateModel(template())
    tables = [compare_bounds(model, reference, tissues(100, seed), "T1") for seed in range(60)]
    spread = np.std([table["median"]["T1"] for table in tables], ddof=1)
    told = np.mean([table["standard_error"]["T1"] for table in tables])
    assert told == pytest.approx(spread, rel=0.35)


def test_tissues_that_neither_tells_are_left_out():
    theta = tissues(20)
    theta.loc[3, "B1"] = 0.0
    model = MTHybridStateModel(template())
    table = compare_bounds(model, model, theta)
    assert table["n"].tolist() == [19, 19, 19, 20]
    assert (table["median"] == 1).all()


def test_tissues_that_one_model_does_not_tell():
    theta = tissues(40)
    few = MTHybridStateModel(template(6))
    table = compare_bounds(few, MTHybridStateModel(template()), theta)
    assert (table["n"] == 40).all()
    assert (table["median"] == np.inf).all()
    assert (table["95 %"][:3] == np.inf).all()
    assert (compare_bounds(MTHybridStateModel(template()), few, theta)["median"] == 0).all()
    none = compare_bounds(few, few, theta)
    assert none["median"].isna().all()
    assert none["worse"].isna().all()
    assert none["n"].tolist() == [0, 0, 0, 40]


def test_models_must_have_the_same_parameters():
    with pytest.raises(ValueError, match="model and reference must have the same parameters"):
        compare_bounds(MTHybridStateModel(template()), BlochHybridStateModel(template()), tissues())


def test_other_objects_are_refused():
    model = MTHybridStateModel(template())
    with pytest.raises(TypeError, match="model must be a SignalModel, .* got PulseSequence"):
        compare_bounds(template(), model, tissues())
    with pytest.raises(TypeError, match="reference must be a SignalModel"):
        compare_bounds(model, template(), tissues())


def test_n_resamples_must_be_two_at_least():
    model = MTHybridStateModel(template())
    with pytest.raises(ValueError, match="n_resamples"):
        compare_bounds(model, model, tissues(), n_resamples=1)
