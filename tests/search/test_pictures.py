"""The pictures of a study: each gets the study's table, goal and space, and finds its defaults."""

from __future__ import annotations

from typing import Any

import made_studies
import numpy as np
import pandas as pd
import pytest
from plotted import legend

from search.pictures import Pictures
from search.studies import StudyResults
from trainer import Float, Int
from trainer.utils.figures import new_figure

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


@pytest.fixture(scope="module")
def study() -> StudyResults:
    return made_studies.study(24)


@pytest.fixture(scope="module")
def two() -> StudyResults:
    """One whose score follows from `b` alone."""
    found = made_studies.study(60, epochs=2, space={"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})
    for trial in found.trials:
        if trial.score is not None:
            trial.score = trial.params["b"]
    return found


@pytest.fixture(scope="module")
def shares(two: StudyResults) -> pd.Series:
    return two.importance(random_state=3)


def test_a_study_is_no_picture_without_its_table() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Pictures()  # type: ignore[abstract]


@pytest.mark.parametrize("name", ["history", "parallel", "distribution", "timeline", "curves"])
def test_a_picture_is_drawn_into_axes_of_ones_own(two: StudyResults, name: str) -> None:
    ax = new_figure((4, 3)).add_subplot()
    assert getattr(two, f"plot_{name}")(ax=ax) is ax


def test_the_direction_and_the_name_of_the_objective_are_those_of_the_study(
    study: StudyResults,
) -> None:
    assert study.plot_history().get_ylabel() == "val_loss (lower is better)"
    best = study.results_["score"].idxmin()
    assert study.plot_history().get_title().endswith(f"trial {best}; 24 trials, 1 failed")


def test_what_the_score_follows_from_is_most_important(
    two: StudyResults, shares: pd.Series
) -> None:
    assert list(shares.index) == ["b", "a"] and shares["b"] > 0.9
    with pytest.raises(ValueError, match="method='forests'"):
        two.importance(method="forests")
    with pytest.raises(ValueError, match="method='forests'"):
        two.plot_importance(method="forests")


def test_a_contour_is_of_the_most_important_parameter_that_is_left(
    two: StudyResults, shares: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(**given: Any) -> tuple[str, str]:
        ax = two.plot_contour(**given)
        return ax.get_xlabel(), ax.get_ylabel()

    monkeypatch.setattr(two, "importance", lambda: shares)  # which takes long to compute
    assert names() == ("b", "a")
    assert names(x="a") == ("a", "b")
    assert names(y="b") == ("a", "b")


def test_a_contour_of_too_few_trials_to_know_what_matters_is_of_the_first_parameters() -> None:
    ax = made_studies.study(2).plot_contour()
    first, second = list(made_studies.SPACE)[:2]
    assert (ax.get_xlabel(), ax.get_ylabel()) == (first, second)


def test_a_contour_of_one_parameter_says_what_to_write() -> None:
    one = made_studies.study(3, space={"only": Int(1, 9)})
    with pytest.raises(ValueError, match=r"the space has only 'only'; write plot_slice\(\)"):
        one.plot_contour()
    with pytest.raises(ValueError, match="x='no': the space has no such parameter"):
        made_studies.study(3).plot_contour(x="no")


def test_curves_are_of_the_objective_or_else_of_the_loss(study: StudyResults) -> None:
    assert study.plot_curves().get_ylabel().startswith("val_loss")
    other = made_studies.study(5)
    other._objective = "f1"
    with pytest.raises(ValueError, match="metric='loss'"):
        other.plot_curves()


def test_curves_are_of_the_trials_that_were_asked_for(study: StudyResults) -> None:
    best = study.results_["score"].idxmin()
    others = [t for t in study.epochs_["trial"].unique()[:4] if t != best][:2]
    assert legend(study.plot_curves(trials=others)) == [f"trial {t}" for t in others]
    assert legend(study.plot_curves(trials=np.array([best]))) == [f"trial {best} (best)"]


def test_curves_of_a_study_whose_best_trial_has_no_epochs_are_of_the_others() -> None:
    study = made_studies.study(6)
    best = study.results_["score"].idxmin()
    study.epochs_ = study.epochs_[study.epochs_["trial"] != best]
    assert "(best)" not in str(legend(study.plot_curves()))


def test_a_distribution_has_the_studies_it_is_compared_with_by_name(study: StudyResults) -> None:
    ax = study.plot_distribution({"later": made_studies.study(4)})
    assert legend(ax) == ["this study (23)", "later (4)"]


def test_a_slice_of_one_name_is_of_that_parameter(study: StudyResults) -> None:
    (ax,) = np.ravel(study.plot_slice("batch_size"))
    assert ax.get_xlabel() == "batch_size"


def test_what_are_no_names_or_studies_is_refused(study: StudyResults) -> None:
    with pytest.raises(TypeError, match=r"names=5: must be a parameter .*names=\['learning_rate'"):
        study.plot_slice(5)  # type: ignore[arg-type]
    for others in (5, {"later": 5}):
        with pytest.raises(TypeError, match="others=.*: must be a dict from name to .*load_study"):
            study.plot_distribution(others)  # type: ignore[arg-type]


def test_rungs_of_a_search_that_has_none_are_refused(study: StudyResults) -> None:
    with pytest.raises(ValueError, match="rung"):
        study.plot_rungs()


def test_a_summary_tells_of_the_best_and_of_why_trials_failed(study: StudyResults) -> None:
    text = study.summary()
    assert "val_loss" in text and f"trial {study.results_['score'].idxmin()}" in text
    assert "why trials failed\n1 x  ValueError: the loss is" in text
