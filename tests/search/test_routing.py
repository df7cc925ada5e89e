"""Where further arguments of a search's fit go, with scikit-learn's routing and without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from light_estimators import Bowl, Nearest, Tiny
from light_searches import sklearn_search
from sklearn import config_context
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer, mean_squared_error
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline

from search.routing import Routed, route, router

WEIGHT, GROUPS = np.linspace(1, 2, 6), np.arange(6) // 2


class Open(Bowl):
    """Its fit takes whatever comes."""

    def fit(self, x: Any, y: Any, **more: Any) -> Open:  # type: ignore[override]
        raise NotImplementedError


def _search(estimator: Any, **options: Any) -> Any:
    return sklearn_search(estimator, {"a": [0.1]}, **options)


def test_without_routing_weights_and_groups_stay_apart_and_the_scorer_gets_nothing() -> None:
    found = route(_search(Open()), WEIGHT, GROUPS, {"extra": 3, "left": None})
    assert found == Routed(WEIGHT, GROUPS, {"extra": 3}, {}), "None is not given"
    assert route(_search(Bowl()), None, None, {}) == Routed(None, None, {}, {})


@pytest.mark.parametrize(
    ("estimator", "name", "says"),
    [
        (Nearest(), "weights", r"fit\(weights=...\): Nearest.fit takes no such argument; "),
        (Bowl(), "sample_weigh", "did you mean 'sample_weight'"),
        (make_pipeline(Bowl()), "bowl_sample_weight", "Pipeline.fit takes no such .*'bowl__'"),
        (make_pipeline(Bowl()), "other__sample_weight", "Pipeline.fit takes no such argument"),
        (Tiny(), "validation_dat", r"fit\(validation_dat=...\): .*mean 'validation_data'\?"),
        (Tiny(), "sample_weights", r"fit\(sample_weights=...\): .*mean 'sample_weight'\?"),
        (Tiny(), "batch_size", r"fit\(batch_size=...\): a search decides .* a field of the Train"),
    ],
)
def test_what_fit_does_not_take_is_refused_by_name(estimator: Any, name: str, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        route(_search(estimator), None, None, {name: 1})
    assert route(_search(estimator), None, None, {name: None}).fit == {}


def test_the_steps_of_a_pipeline_are_addressed_by_their_names() -> None:
    params = {"bowl__sample_weight": WEIGHT}
    assert route(_search(make_pipeline(Bowl())), None, None, params).fit == params


def test_rows_of_the_data_are_no_arguments() -> None:
    for name in ("x", "y"):
        with pytest.raises(TypeError, match=rf"fit\({name}=...\)"):
            route(_search(Bowl()), None, None, {name: 1})


def test_with_routing_each_object_gets_what_it_asks_for() -> None:
    with config_context(enable_metadata_routing=True):
        ridge = Ridge().set_fit_request(sample_weight=False)
        scorer = make_scorer(mean_squared_error).set_score_request(sample_weight=True)
        search = _search(ridge, scoring=scorer, cv=GroupKFold(3))
        found = route(search, WEIGHT, GROUPS, {})
        assert found.weight is None and dict(found.fit) == {}
        assert found.groups is GROUPS and dict(found.score) == {"sample_weight": WEIGHT}
        search.set_params(estimator=Ridge().set_fit_request(sample_weight=True))
        assert route(search, WEIGHT, GROUPS, {}).weight is WEIGHT
        assert route(search, None, None, {}) == Routed(None, None, {}, {})


def test_with_routing_an_argument_that_nobody_has_asked_for_is_not_dropped() -> None:
    with config_context(enable_metadata_routing=True):
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            route(_search(Ridge()), WEIGHT, None, {})
        with pytest.raises(TypeError, match="groups|extra"):
            route(_search(Ridge()), None, None, {"extra": 1})


def test_a_router_names_the_estimator_the_scorer_and_a_splitter_if_there_is_one() -> None:
    with config_context(enable_metadata_routing=True):
        found = router(_search(Ridge(), cv=GroupKFold(3)))
        assert found.consumes("fit", ["groups"]) == {"groups"}
        assert set(dict(found)) >= {"estimator", "scorer", "splitter"}
        assert router(_search(Ridge(), cv=None)).consumes("fit", ["groups"]) == set()
