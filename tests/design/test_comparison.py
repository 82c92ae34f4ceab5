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
    np.testing.assert_allclose(table["median"][:2], np.median(ratio, axis=0))
    np.testing.assert_allclose(table["5 %"][:2], np.quantile(ratio, 0.05, axis=0))
    np.testing.assert_allclose(table["95 %"][:2], np.quantile(ratio, 0.95, axis=0))
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


def test_models_must_have_the_same_parameters():
    with pytest.raises(ValueError, match="model and reference must have the same parameters"):
        compare_bounds(MTHybridStateModel(template()), BlochHybridStateModel(template()), tissues())


def test_n_resamples_must_be_two_at_least():
    model = MTHybridStateModel(template())
    with pytest.raises(ValueError, match="n_resamples"):
        compare_bounds(model, model, tissues(), n_resamples=1)
