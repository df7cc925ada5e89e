"""Where further arguments of a search's fit go: to the estimator, the scorer or the splitter.

Responsible for scikit-learn's metadata routing, and for the arguments without it. Not for cutting
them into folds (`study.data`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.study.scoring import trainer_in
from trainer.base import Trainer
from trainer.utils.checks import did_you_mean, near_names

OWN = ("validation_data", "groups", "sample_weight")  # arguments of a search's own fit


@dataclass(frozen=True)
class Routed:
    """The arguments of fit, by where they go.

    Attributes:
        weight: of the rows, for the estimator's fit.
        groups: of the rows, for the splitter.
        fit: others for the estimator's fit.
        score: for the scorer.
    """

    weight: Any
    groups: Any
    fit: Mapping[str, Any]
    score: Mapping[str, Any]


def route(search: Any, weight: Any, groups: Any, params: Mapping[str, Any]) -> Routed:
    """Return where the arguments of a search's fit go.

    Args:
        search: with its estimator, scoring and cv.
        weight: sample_weight of fit, or None.
        groups: of fit, or None.
        params: further arguments of fit.

    Raises:
        TypeError: the estimator's fit does not take an argument.
        sklearn.exceptions.UnsetMetadataPassedError: with metadata routing it is not known whether
            an object wants an argument.
    """
    from sklearn import get_config

    given = {name: value for name, value in params.items() if value is not None}
    if not get_config()["enable_metadata_routing"]:
        _check(search.estimator, given)
        return Routed(weight, groups, given, {})
    from sklearn.utils.metadata_routing import process_routing

    known = {"sample_weight": weight, "groups": groups} | given
    sent = process_routing(search, "fit", **{n: v for n, v in known.items() if v is not None})
    fit, split = dict(sent.estimator.fit), dict(sent.splitter.split)
    if isinstance(trainer_in(search.estimator)[1], Trainer):
        _check(search.estimator, {n: v for n, v in fit.items() if n != "sample_weight"})
    return Routed(fit.pop("sample_weight", None), split.get("groups"), fit, sent.scorer.score)


def router(search: Any) -> Any:
    """Return the router of a search: see scikit-learn's get_metadata_routing."""
    from sklearn.metrics import check_scoring
    from sklearn.model_selection import check_cv
    from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

    mapping = MethodMapping().add(caller="fit", callee="fit")
    found = MetadataRouter(owner=search).add(estimator=search.estimator, method_mapping=mapping)
    scorer = None
    if search.scoring is not None or hasattr(search.estimator, "score"):
        scorer = check_scoring(search.estimator, scoring=search.scoring)
    mapping = MethodMapping().add(caller="fit", callee="score")
    found.add(scorer=scorer, method_mapping=mapping)
    splitter = None if search.cv is None else check_cv(search.cv)
    mapping = MethodMapping().add(caller="fit", callee="split")
    return found.add(splitter=splitter, method_mapping=mapping)


def _check(estimator: Any, params: Mapping[str, Any]) -> None:
    """Refuse what the estimator's fit does not take."""
    for name in params if isinstance(estimator, Trainer) else ():
        near = near_names(name, OWN)
        if near:
            raise TypeError(
                f"fit({name}=...): there is no such argument; did you mean {near[0]!r}?"
            )
        raise TypeError(
            f"fit({name}=...): a search decides about the other arguments of a Trainer's fit; "
            "leave it out, or write a field of the Trainer"
        )
    if not hasattr(estimator, "steps"):
        taken = inspect.signature(estimator.fit).parameters
        if any(p.kind == p.VAR_KEYWORD for p in taken.values()):
            return
        known = [name for name in taken if name not in ("X", "x", "y")]
    else:
        known = [f"{name}__" for name, _ in estimator.steps]
    for name in params:
        if name not in known and name.partition("__")[0] + "__" not in known:
            what = type(estimator).__name__
            raise TypeError(
                f"fit({name}=...): {what}.fit takes no such argument; {did_you_mean(name, known)}"
            )
