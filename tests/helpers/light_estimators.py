"""Estimators that cost next to nothing, and what they noted: for tests of searches."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import keras
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from trainer import Classifier, Float, Int


class Bowl(RegressorMixin, BaseEstimator):
    """Its score is highest at a=0.3, whatever the data; in this process it notes its fits."""

    fits: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, a: Any = 0.0, b: Any = 0.0, fail: Any = None, random_state: Any = None):
        self.a = a
        self.b = b
        self.fail = fail
        self.random_state = random_state

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Bowl:
        x, y = validate_data(self, x, y)
        type(self).fits.append(
            {
                "a": self.a,
                "rows": len(x),
                "weight": None if sample_weight is None else np.array(sample_weight),
                "seed": self.random_state,
                "first": float(x[0, 0]),
            }
        )
        if self.fail is not None and self.a == self.fail and len(x) < 1_000:
            raise ArithmeticError(f"a={self.a} cannot be")
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, x: Any) -> Any:
        check_is_fitted(self)
        return np.full(len(validate_data(self, x, reset=False)), self.mean_)

    def score(self, x: Any, y: Any = None, sample_weight: Any = None) -> float:
        return -((self.a - 0.3) ** 2) + float(x[0, 0]) * 1e-3


class Nearest(ClassifierMixin, BaseEstimator):
    """The class of the nearest mean, moved by `shift`: a deterministic classifier."""

    def __init__(self, shift: float = 0.0, kind: str = "mean", power: float = 2.0) -> None:
        self.shift = shift
        self.kind = kind
        self.power = power

    def fit(self, x: Any, y: Any) -> Nearest:
        x, y = validate_data(self, x, y)
        self.classes_ = np.unique(y)
        if self.kind == "broken":
            raise ArithmeticError("kind='broken' cannot be fitted")
        middle = np.mean if self.kind == "mean" else np.median
        self.middles_ = np.array([middle(x[y == c], axis=0) for c in self.classes_]) + self.shift
        return self

    def predict_proba(self, x: Any) -> Any:
        check_is_fitted(self)
        x = validate_data(self, x, reset=False)
        far = (np.abs(x[:, None] - self.middles_) ** self.power).sum(axis=2)
        near = np.exp(-(far - far.min(axis=1, keepdims=True)))
        return near / near.sum(axis=1, keepdims=True)

    def predict(self, x: Any) -> Any:
        return self.classes_[self.predict_proba(x).argmax(axis=1)]


class Tiny(Classifier):
    """One layer of ten weights."""

    units: Annotated[int, Int(2, 6)] = 3
    learning_rate: Annotated[float, Float(1e-3, 1e-1, log=True)] = 0.01
    epochs = 2
    batch_size = 32
    verbose = 0

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Dense(self.units, "tanh"),
                keras.layers.Dense(spec.n_outputs, "softmax"),
            ]
        )
