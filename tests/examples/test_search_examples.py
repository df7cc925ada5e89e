"""The examples of searches show what they say that they show.

The bounds are scores that an untrained model misses: of ten classes it hits one in ten, of two
every second one.
"""

import sqlite3

import pandas as pd
import pytest


def number(text: str) -> float:
    """The number that a text starts with."""
    return float(text.split()[0].rstrip(",:%"))


def test_a_search_finds_a_rate_and_goes_on_with_more_trials(run):
    """Takes 23 s: two searches with two new workers each, which import TensorFlow."""
    done = run("search_by_hand", "--epochs", "4", "--trials", "6", cores=2)
    assert number(done.line("rate 1: validation accuracy ")) < 0.5  # too large
    assert "2 workers" in done.text and "resuming after 3 completed" in done.text
    study = sqlite3.connect(done.files["study.sqlite"])
    states = pd.read_sql("select state from trials", study).state
    study.close()
    assert states.tolist() == ["completed"] * 6
    assert number(done.line("held-out accuracy ")) > 0.8
    assert {"by_hand.png", "history.png", "score_by_rate.png"} <= set(done.files)


def test_scikit_learns_ways_of_searching_all_find_a_model(run):
    """Takes up to a minute: three searches with new workers, which import TensorFlow."""
    done = run("search_sklearn", "--trials", "10", cores=1)
    for name in ("random", "halving", "GridSearchCV"):
        assert number(done.line(f"{name}: held-out accuracy ")) > 0.85
    table = pd.read_csv(done.files["cv_results.csv"])
    assert len(table) == 10
    assert table[["mean_test_f1_macro", "mean_test_neg_log_loss"]].notna().all(axis=None)
    # of ten candidates three get three epochs, and one nine
    assert [done.line(f"{rung}.0 ").split() for rung in range(3)] == [
        ["10", "1"],
        ["3", "3"],
        ["1", "9"],
    ]


def test_a_search_that_was_killed_goes_on_with_what_had_ended(run):
    """Takes 25 s: a second process, and the workers of three searches, import TensorFlow."""
    done = run(
        "search_keras_tuner",
        *("--trials", "6", "--epochs", "3"),
        cores=1,
        expected="max_trials=6: the first 12 trials are random",
    )
    assert done.line("the second process ended with ") == "-9"
    assert "resuming after 3 completed" in done.text
    study = sqlite3.connect(done.files["study.sqlite"])
    trials = pd.read_sql("select state, attempts, params from trials", study)
    study.close()
    assert trials.state.tolist() == ["completed"] * 6
    assert (trials.attempts == 1).sum() >= 3  # those that had ended were not run again
    relu = trials.params.str.contains('"relu"')
    assert (trials.params.str.contains("dropout") == relu).all()
    for name in ("bayesian", "hyperband", "keras-tuner's own"):
        assert number(done.line(f"{name}: held-out accuracy ")) > 0.5
    assert {"history.png", "parallel.png", "rungs.png"} <= set(done.files)


def rest(text: str, start: str) -> str:
    """The rest of the only line that starts so."""
    (found,) = [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]
    return found


def scores_on(backend, start):
    """The scores of the search on a backend of joblib."""
    options = ("--trials", "3", "--epochs", "2")
    done = start("search_joblib", "--backend", backend, *options, cores=2)
    assert done.returncode == 0, done.stderr
    return rest(done.stdout, "scores ")


@pytest.fixture(scope="module")
def scores_of_loky(start_once):
    return scores_on("loky", start_once)


@pytest.mark.parametrize(("backend", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_scikit_learns_search_has_the_same_scores_on_a_cluster_of_joblib(
    start, backend, package, request
):
    """Takes up to half a minute: a cluster whose workers import TensorFlow."""
    pytest.importorskip(package, reason=f"{package} is not installed")
    scores_of_loky = request.getfixturevalue("scores_of_loky")
    assert scores_on(backend, start) == scores_of_loky
    assert max(map(float, scores_of_loky.split())) > 0.85


def test_a_search_starts_a_ray_of_its_own_where_no_cluster_is_given(start, monkeypatch, tmp_path):
    """Takes up to a minute: Ray, and workers that import TensorFlow."""
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = start("distributed_search", "--trials", "4", "--epochs", "9", cores=2)
    assert done.returncode == 0, done.stderr
    assert number(rest(done.stdout, "held-out accuracy ")) > 0.5
    study = sqlite3.connect(tmp_path / rest(done.stdout, "wrote "))
    states = pd.read_sql("select state from trials", study).state
    study.close()
    assert set(states) <= {"completed", "pruned"} and len(states) >= 4
