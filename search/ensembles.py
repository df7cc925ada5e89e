"""Several fitted models as one estimator: soft vote of classifiers, mean of regressors.

Responsible for combining predictions. Not for finding the models (`kept`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, is_classifier
from sklearn.utils.validation import check_is_fitted


class _Ensemble(BaseEstimator):
    """What both kinds share.

    Args:
        estimators: fitted, or to be fitted with fit.
        weights: of the estimators [n], or None for equal ones.
    """

    def __init__(self, estimators: Sequence[Any], weights: Sequence[float] | None = None) -> None:
        self.estimators = estimators
        self.weights = weights

    def fit(self, x: Any, y: Any = None, **params: Any) -> Self:
        """Fit a clone of each estimator on the same rows.

        Args:
            x: rows, as the estimators take them.
            y: their targets.
            params: passed to the fit of each.

        Returns:
            self.
        """
        self._adopt([clone(estimator).fit(x, y, **params) for estimator in self.estimators])
        return self

    @classmethod
    def of(cls, fitted: Sequence[Any], weights: Sequence[float] | None = None) -> Self:
        """Return an ensemble of models that are fitted already.

        Args:
            fitted: the models, at least one.
            weights: of the models [n], or None for equal ones.

        Raises:
            ValueError: no model, or another number of weights.
        """
        made = cls(list(fitted), weights)
        made._adopt(list(fitted))
        return made

    def _adopt(self, fitted: list[Any]) -> None:
        if not fitted:
            raise ValueError("estimators=[]: must hold at least one estimator")
        if self.weights is not None and len(self.weights) != len(fitted):
            raise ValueError(
                f"weights={self.weights!r}: must be one for each of {len(fitted)} estimators"
            )
        self.estimators_ = fitted
        if hasattr(fitted[0], "n_features_in_"):
            self.n_features_in_ = fitted[0].n_features_in_

    def _mean(self, found: Sequence[Any]) -> Any:
        return np.average(np.stack(found), axis=0, weights=self.weights)


class EnsembleClassifier(ClassifierMixin, _Ensemble):
    """A soft vote: the mean of the members' probabilities; the class with the most is predicted.

    A class that a member has not seen has the probability 0 there.
    """

    classes_: np.ndarray

    def _adopt(self, fitted: list[Any]) -> None:
        super()._adopt(fitted)
        for member in fitted:
            if not hasattr(member, "predict_proba"):
                raise TypeError(
                    f"{type(member).__name__} has no predict_proba, which a soft vote needs; take "
                    "best_estimators(k), and combine their predictions yourself"
                )
        self.classes_ = np.unique(np.concatenate([np.asarray(m.classes_) for m in fitted]))

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return the mean of the members' probabilities [rows, classes]."""
        check_is_fitted(self, "estimators_")
        found = []
        for member in self.estimators_:
            own = np.asarray(member.predict_proba(x))
            whole = np.zeros((len(own), len(self.classes_)))
            whole[:, np.searchsorted(self.classes_, member.classes_)] = own
            found.append(whole)
        mean: np.ndarray = self._mean(found)
        return mean

    def predict(self, x: Any) -> np.ndarray:
        """Return the class with the highest mean probability for each row."""
        return np.asarray(self.classes_[self.predict_proba(x).argmax(axis=1)])


class EnsembleRegressor(RegressorMixin, _Ensemble):
    """The mean of the members' predictions."""

    def predict(self, x: Any) -> Any:
        """Return the mean of the members' predictions, of each output if they have names."""
        check_is_fitted(self, "estimators_")
        found = [member.predict(x) for member in self.estimators_]
        if isinstance(found[0], dict):
            return {name: self._mean([part[name] for part in found]) for name in found[0]}
        return self._mean(found)


def ensemble(fitted: Sequence[Any]) -> EnsembleClassifier | EnsembleRegressor:
    """Return the ensemble of fitted models, by the kind of the first."""
    kind = EnsembleClassifier if is_classifier(fitted[0]) else EnsembleRegressor
    made: EnsembleClassifier | EnsembleRegressor = kind.of(fitted)
    return made
