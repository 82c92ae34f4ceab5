import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from crbestim import CRBWeightedRegressor, Pipeline, SVDCompressor
from crbestim.pretrained import PretrainedPipeline, load_pretrained, save_pretrained


@pytest.fixture
def loaded(fitted, tmp_path):
    save_pretrained(fitted, tmp_path / "network", card="card")
    return load_pretrained(tmp_path / "network")


def test_clone_is_an_untrained_pipeline_of_the_same_settings(loaded, draw):
    X, y, crb, _ = draw()
    copy = clone(loaded)
    assert type(copy) is Pipeline
    with pytest.raises(NotFittedError):
        copy.predict(X)
    assert repr(copy[1].get_params()) == repr(loaded[1].get_params())
    np.testing.assert_array_equal(copy.fit(X, y, crb=crb)[0].basis_, loaded[0].basis_)
    check_is_fitted(loaded)


def test_pickle_keeps_all(loaded, draw):
    X, *_ = draw()
    again = pickle.loads(pickle.dumps(loaded))
    assert type(again) is PretrainedPipeline
    np.testing.assert_array_equal(again.predict(X), loaded.predict(X))
    assert again.header_ == loaded.header_
    pd.testing.assert_frame_equal(again.history_, loaded.history_)


def test_repr_works_in_a_notebook(loaded):
    assert repr(loaded).startswith("PretrainedPipeline(steps=[('svdcompressor'")
    html = loaded._repr_html_()
    assert "PretrainedPipeline" in html
    assert "CRBWeightedRegressor" in html
    assert "Pipeline" in clone(loaded)._repr_html_()


def test_training_anew_forgets_the_file(loaded, draw):
    X, y, crb, _ = draw()
    before = loaded.predict(X)
    loaded.set_params(crbweightedregressor__max_epochs=3)
    assert loaded.fit(X, y, crb=crb) is loaded
    assert not np.array_equal(loaded.predict(X), before)
    assert len(loaded.history_) == 3
    with pytest.raises(AttributeError, match="fitted anew, or not read from a file"):
        _ = loaded.card_
    assert "Pretrained" in loaded._repr_html_()


def test_pipeline_that_was_not_read_has_no_origin():
    with pytest.raises(AttributeError, match="fitted anew, or not read from a file"):
        _ = PretrainedPipeline([SVDCompressor()]).model_


def test_tables_are_copies(loaded):
    history = loaded.history_
    history["train_loss"] = np.nan
    assert loaded.history_["train_loss"].notna().all()
    loaded.target_names_.clear()
    assert loaded.target_names_ == ["R", "W"]


def test_training_goes_on_from_the_weights_of_the_file(draw, tmp_path):
    X, y, crb, _ = draw()
    regressor = CRBWeightedRegressor(max_epochs=3, warm_start=True, verbose=0, random_state=0)
    pipeline = Pipeline([SVDCompressor(3), regressor]).fit(X, y, crb=crb)
    save_pretrained(pipeline, tmp_path / "network")
    loaded = load_pretrained(tmp_path / "network")
    trained = [step.fit(X, y, crb=crb).predict(X) for step in (pipeline, loaded)]
    np.testing.assert_array_equal(*trained)
    anew = clone(pipeline).fit(X, y, crb=crb)
    assert not np.array_equal(anew.predict(X), trained[0])
