"""Rows that have no target: left out with a warning, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from trainer import Classifier, Regressor
from trainer.data.preparation import MissingTargets

N = 40
GONE = np.arange(N) % 10 == 3
X = np.random.default_rng(0).normal(size=(N, 3))
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
Y = X[:, 0]
LABELS = np.where(Y > 0, "up", "down").astype(object)
LEFT_OUT = r"y: 4 of 40 rows have no target \(NaN or None\) and are left out"


def regressor(**fields: Any) -> Regressor:
    return Regressor(**{"epochs": 1, "random_state": 0} | fields)


def classifier(**fields: Any) -> Classifier:
    return Classifier(**{"epochs": 1, "random_state": 0} | fields)


def gaps(values: Any, missing: Any = None) -> np.ndarray:
    return np.where(GONE, missing, values)


FORMS: dict[str, tuple[Any, Any]] = {
    "objects": (gaps(LABELS), LABELS),
    "a list": (gaps(LABELS).tolist(), LABELS),
    "a list with NaN": (gaps(LABELS, float("nan")).tolist(), LABELS),
    "a Series": (pd.Series(gaps(LABELS)), LABELS),
    "nullable text": (pd.Series(gaps(LABELS), dtype="string"), LABELS),
    "a category": (pd.Series(pd.Categorical(gaps(LABELS))), LABELS),
    "a frame": (pd.DataFrame({"y": gaps(LABELS)}), LABELS),
    "nullable numbers": (pd.array(gaps(np.arange(N) % 2, pd.NA), dtype="Int64"), np.arange(N) % 2),
    "nullable flags": (pd.array(gaps(Y > 0, pd.NA), dtype="boolean"), Y > 0),
    "floats": (gaps((Y > 0) * 1.0, np.nan).astype(float), (Y > 0) * 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_missing_labels_are_found_in_every_form(form: str) -> None:
    y, whole = FORMS[form]
    missing = MissingTargets("drop")
    with pytest.warns(UserWarning, match=LEFT_OUT):
        kept = missing.kept(y)
    np.testing.assert_array_equal(kept, np.flatnonzero(~GONE))
    assert missing.kept(whole) is None


def test_a_fit_without_those_rows_is_the_same() -> None:
    weight = np.arange(N) + 1.0
    expected = regressor(validation_split=0.25).fit(X[~GONE], Y[~GONE], sample_weight=weight[~GONE])
    with pytest.warns(UserWarning, match=LEFT_OUT):
        found = regressor(validation_split=0.25).fit(X, gaps(Y, np.nan), sample_weight=weight)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    with pytest.warns(UserWarning, match=LEFT_OUT):
        assert found.evaluate(X, gaps(Y, np.nan), sample_weight=weight) == expected.evaluate(
            X[~GONE], Y[~GONE], sample_weight=weight[~GONE]
        )
    with pytest.warns(UserWarning, match=LEFT_OUT):
        assert found.score(X, gaps(Y, np.nan), weight) == expected.score(
            X[~GONE], Y[~GONE], weight[~GONE]
        )


def test_a_classifier_on_a_table_with_validation_rows() -> None:
    y = gaps(LABELS)
    with pytest.warns(UserWarning) as told:
        found = classifier().fit(FRAME, y, validation_data=(FRAME, y))
    said = [str(w.message) for w in told]
    assert [text.startswith(("y: 4 of 40", "validation_data: y: 4 of 40")) for text in said] == [
        True,
        True,
    ]
    assert told[0].filename == __file__  # the line that calls fit
    assert found.classes_.tolist() == ["down", "up"]
    with pytest.warns(UserWarning, match=LEFT_OUT):
        assert found.score(FRAME, y) == found.score(FRAME[~GONE], LABELS[~GONE])


def test_a_row_lacks_a_target_if_one_of_several_is_missing() -> None:
    with pytest.warns(UserWarning, match=LEFT_OUT):
        regressor().fit(X, np.stack([Y, gaps(Y, np.nan)], axis=1).astype(float))
    parts = {"a": Y, "b": gaps(Y, np.nan).astype(float)}
    with pytest.warns(UserWarning, match=LEFT_OUT):
        fitted = regressor().fit(X, parts)
    with pytest.warns(UserWarning, match=LEFT_OUT):
        fitted.score(X, parts)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "labels": (lambda: classifier(missing_target="raise").fit(X, gaps(LABELS)), "first is row 3"),
    "numbers": (
        lambda: regressor(missing_target="raise").fit(X, gaps(Y, np.nan).astype(float)),
        "4 of 40 rows have no target.*missing_target='drop'",
    ),
    "validation rows": (
        lambda: classifier(missing_target="raise").fit(
            X, LABELS, validation_data=(X, gaps(LABELS))
        ),
        "validation_data: y: 4 of 40",
    ),
    "score": (
        lambda: classifier(missing_target="raise").fit(X, LABELS).score(X, gaps(LABELS)),
        "4 of 40 rows have no target",
    ),
    "no row is left": (lambda: regressor().fit(X, np.full(N, np.nan)), "40 of 40.*none remains"),
    "another word": (
        lambda: regressor(missing_target="keep").fit(X, Y),
        "missing_target='keep': must be one of 'drop', 'raise'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_missing_targets_are_refused_if_asked_for_or_if_none_remains(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()


def masked(y: Any, y_pred: Any) -> Any:
    y = ops.reshape(y, ops.shape(y_pred))
    known = ops.isfinite(y)
    return ops.mean(ops.where(known, ops.square(ops.where(known, y, 0) - y_pred), 0))


class Compiled(Regressor):
    """A model that build_model compiles with a loss of one's own."""

    def build_model(self, spec: Any) -> keras.Model:
        model = keras.Sequential([keras.Input(spec.input_shape), keras.layers.Dense(1)])
        model.compile("sgd", loss=masked)
        return model


def test_a_loss_of_ones_own_sees_missing_targets(recwarn: pytest.WarningsRecorder) -> None:
    y = gaps(Y, np.nan).astype(float)
    seen = regressor(loss=masked, metrics=()).fit(X, y)
    compiled = Compiled(epochs=1, missing_target="raise").fit(X, y)
    assert np.isfinite(
        [seen.history_.records[0]["loss"], compiled.history_.records[0]["loss"]]
    ).all()
    assert [w for w in recwarn if "no target" in str(w.message)] == []
