"""Hyperparameter searches over trainers, and over any scikit-learn estimator, on all cores.

    from search import TunerSearch

    search = TunerSearch(Classifier(epochs=5), {"learning_rate": Float(1e-4, 1, log=True)})
    search.fit(x, y).best_params_

Names are loaded when they are first used: a worker process sets its number of threads before it
imports NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.functions import FunctionSearch
    from search.interop.hypermodels import hypermodel
    from search.searches import SklearnSearch, TunerSearch
    from search.space import Space
    from search.studies import StudyResults, compare, import_optuna, load_study
    from search.study.callbacks import SearchCallback
    from search.study.current import current_trial

__all__ = [
    "FunctionSearch",
    "SearchCallback",
    "SklearnSearch",
    "Space",
    "StudyResults",
    "TunerSearch",
    "compare",
    "current_trial",
    "hypermodel",
    "import_optuna",
    "load_study",
]

_HOMES = {
    "FunctionSearch": "search.functions",
    "SearchCallback": "search.study.callbacks",
    "SklearnSearch": "search.searches",
    "Space": "search.space",
    "StudyResults": "search.studies",
    "TunerSearch": "search.searches",
    "compare": "search.studies",
    "current_trial": "search.study.current",
    "import_optuna": "search.studies",
    "load_study": "search.studies",
    "hypermodel": "search.interop.hypermodels",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'search' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
