"""A fitted search acts as its best estimator, so a search is an estimator itself.

Responsible for delegating calls, and for what scikit-learn requires of a meta-estimator. Not for
finding the best estimator (`base`).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from search.study.scoring import Measure


def _delegated(name: str) -> Callable[[BestEstimator], bool]:
    def check(search: BestEstimator) -> bool:
        # hasattr may be called before fit; a missing method raises the estimator's own error
        getattr(getattr(search, "best_estimator_", search.estimator), name)
        return True

    return check


class BestEstimator:
    """The methods of an estimator, delegated to best_estimator_ where it has them."""

    estimator: Any
    refit: Any
    best_estimator_: Any
    _measure: Measure

    def score(self, x: Any, y: Any = None) -> float:
        """Return the best estimator's score, by the scorer that ranks the trials if there is one.

        If the objective is a log, this is the estimator's own score.
        """
        best = self._best_of_all("score")
        if self._measure.log:
            return float(best.score(x, y))
        return self._measure.scores(best, x, y)[self._measure.key]

    @available_if(_delegated("predict"))
    def predict(self, x: Any) -> Any:
        """Return the best estimator's predictions."""
        return self._ask_best("predict", x)

    @available_if(_delegated("predict_proba"))
    def predict_proba(self, x: Any) -> Any:
        """Return the best estimator's probabilities."""
        return self._ask_best("predict_proba", x)

    @available_if(_delegated("predict_log_proba"))
    def predict_log_proba(self, x: Any) -> Any:
        """Return the logarithms of the best estimator's probabilities."""
        return self._ask_best("predict_log_proba", x)

    @available_if(_delegated("decision_function"))
    def decision_function(self, x: Any) -> Any:
        """Return the best estimator's decision function."""
        return self._ask_best("decision_function", x)

    @available_if(_delegated("transform"))
    def transform(self, x: Any) -> Any:
        """Return x transformed by the best estimator."""
        return self._ask_best("transform", x)

    @available_if(_delegated("evaluate"))
    def evaluate(self, x: Any, y: Any = None, *, sample_weight: Any = None) -> dict[str, float]:
        """Return the best Trainer's loss and metrics on the given data."""
        best = self._best_of_all("evaluate")
        found: dict[str, float] = best.evaluate(x, y, sample_weight=sample_weight)
        return found

    def _ask_best(self, method: str, x: Any) -> Any:
        return getattr(self._best_of_all(method), method)(x)

    def _best_of_all(self, method: str) -> Any:
        """Return the best estimator, for a method of it."""
        if hasattr(self, "results_") and not self.refit:
            raise NotFittedError(
                f"refit=False: the search fitted no model on all rows, so there is no {method}; "
                f"write {type(self).__name__}(..., refit=True), or fit one yourself: "
                "clone(search.estimator).set_params(**search.best_params_).fit(x, y)"
            )
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_

    @property
    def classes_(self) -> Any:
        """The class labels, if the estimator is a classifier."""
        _delegated("classes_")(self)
        return self.best_estimator_.classes_

    @property
    def n_features_in_(self) -> int:
        """The number of features seen during fit."""
        if not hasattr(self, "best_estimator_"):
            raise AttributeError(f"{type(self).__name__} is not fitted: it has no n_features_in_")
        count: int = self.best_estimator_.n_features_in_
        return count

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "results_")

    def __sklearn_tags__(self) -> Any:
        # of BaseEstimator, which comes after this class in a search (mypy does not see that)
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # scikit-learn's, without types
        own = get_tags(self.estimator)
        tags.estimator_type = own.estimator_type
        tags.classifier_tags = deepcopy(own.classifier_tags)
        tags.regressor_tags = deepcopy(own.regressor_tags)
        tags.target_tags = deepcopy(own.target_tags)
        tags.input_tags = deepcopy(own.input_tags)
        return tags
