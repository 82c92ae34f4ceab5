"""scikit-learn's own checks of every estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from crbestim import (
    CRBSVDCompressor,
    CRBWeightedRegressor,
    DictionaryMatcher,
    MTHybridStateModel,
    NLLSEstimator,
    Pipeline,
    PosteriorMean,
    PulseSequence,
    SVDCompressor,
)

NO_SIGNALS = "X must have the time points of the model's sequence as columns; the check makes up its own data"
MAKE_UP_DATA = (
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
)
EXPECTED_FAILURES = {
    "CRBSVDCompressor": dict.fromkeys(
        [
            *MAKE_UP_DATA,
            "check_transformer_data_not_an_array",
            "check_transformer_general",
            "check_transformer_preserve_dtypes",
        ],
        NO_SIGNALS,
    )
    | {"check_complex_data": "takes complex signals by design"},
    "SVDCompressor": {"check_complex_data": "takes complex signals by design"},
    "CRBWeightedRegressor": {
        "check_parameters_default_constructible": "the default noise is a NoiseModel, which is immutable",
    },
    "Pipeline": dict.fromkeys(
        ["check_estimators_overwrite_params", "check_dont_overwrite_parameters"],
        "scikit-learn's Pipeline fits its steps in place",
    ),
    **dict.fromkeys(
        ["NLLSEstimator", "DictionaryMatcher"],
        dict.fromkeys(
            [
                *MAKE_UP_DATA,
                "check_regressor_data_not_an_array",
                "check_regressor_multioutput",
                "check_regressors_int",
                "check_regressors_no_decision_function",
                "check_regressors_train",
                "check_supervised_y_2d",
            ],
            NO_SIGNALS,
        )
        | {"check_complex_data": "takes complex signals by design"},
    ),
}
EXPECTED_FAILURES["PosteriorMean"] = EXPECTED_FAILURES["NLLSEstimator"] | EXPECTED_FAILURES["CRBWeightedRegressor"]


def estimators():
    sequence = PulseSequence([0.3, 0.6, 0.9, 0.4], [3e-4] * 4, 3.5e-3, 5e-4)
    return [
        SVDCompressor(n_components=1),
        # Without noise and phase alignment the number of columns may be odd; the checks know no crb.
        CRBWeightedRegressor("mse", noise=None, network="paper", max_epochs=2, verbose=0),
        Pipeline(
            [
                SVDCompressor(n_components=1),
                CRBWeightedRegressor("mse", noise=None, network="paper", max_epochs=2, verbose=0, random_state=0),
            ]
        ),
        NLLSEstimator(MTHybridStateModel(sequence), n_candidates=16, verbose=0),
        DictionaryMatcher(MTHybridStateModel(sequence), entries=16, verbose=0),
        PosteriorMean(MTHybridStateModel(sequence), n_candidates=100, n_samples=100, verbose=0),
        CRBSVDCompressor(MTHybridStateModel(sequence), 1, n_samples=16),
    ]


@parametrize_with_checks(
    estimators(), expected_failed_checks=lambda estimator: EXPECTED_FAILURES[type(estimator).__name__]
)
def test_estimator_checks(estimator, check):
    check(estimator)
