"""A study that is opened in another process shows what its search shows."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from light_estimators import Bowl, Nearest
from light_searches import R, Told, X, Y, sklearn_search
from patience import SECONDS, WORK

from search import Space, compare, load_study
from search.study.database import TABLES, Database
from trainer import Bool, Choice, Float, Int

OLD = Path(__file__).parents[1] / "data" / "v0_1_0" / "studies"


def relu(x: Any) -> Any:
    return x


SPACE = {
    "a": Choice(0.1, 0.2, 0.9, relu, (8, 8)),
    "b": Float(0.1, 1.0, when={"a": (0.1, relu)}),
    "fail": Int(1, 8, when={"a": 0.2}),
}


class Open(Bowl):
    """Takes anything as a."""

    def score(self, x: Any, y: Any = None, sample_weight: Any = None) -> float:
        return float(self.a) if isinstance(self.a, float) else 0.5


def test_a_loaded_study_has_the_tables_and_texts_of_its_search(tmp_path: Path) -> None:
    search = sklearn_search(
        Bowl(fail=0.5), {"a": [0.1, 0.3, 0.5]}, method="grid", directory=tmp_path
    )
    with pytest.warns(UserWarning, match="1 of 3 trials failed"):
        search.fit(X, R)
    study = load_study(tmp_path)
    pd.testing.assert_frame_equal(study.results_, search.results_, atol=0.1)
    assert study.top(2).trial.tolist() == search.top(2).trial.tolist()
    assert study.best_params_ == search.best_params_ == {"a": 0.3}
    assert study.best_score_ == search.best_score_
    assert study.best_index_ == search.best_index_
    assert study.cv_results_.keys() == search.cv_results_.keys()
    for name, column in search.cv_results_.items():
        found = study.cv_results_[name]
        np.testing.assert_array_equal(np.ma.filled(found), np.ma.filled(column))
    summary = study.summary()
    assert "best score" in summary and str(tmp_path) in "".join(summary.split())
    assert study.failures.trial.tolist() == [2]
    assert "a=0.5 cannot be" in study.failures.reason[2]
    assert study.failures.reason.equals(search.failures.reason)
    assert study.seed_ == search.seed_ and "3 trials" in repr(study)


def test_every_plot_is_drawn_from_a_loaded_study(tmp_path: Path) -> None:
    search = sklearn_search(space={"a": Float(0, 1), "b": Float(0, 1)}, n_iter=12)
    search.set_params(directory=tmp_path).fit(X, R)
    study = load_study(tmp_path)
    assert len(study.plot_slice()) == 2
    for name in ("plot_history", "plot_parallel", "plot_importance"):
        assert getattr(study, name)().get_title()
    assert study.importance().equals(search.importance())


def test_objects_are_texts_where_their_classes_are_unknown(tmp_path: Path) -> None:
    sklearn_search(Open(), SPACE, n_iter=12, directory=tmp_path).fit(X, R)
    script = f"""
        from search import load_study
        study = load_study({str(tmp_path)!r})
        print(sorted({{str(v) for v in study.results_.a}}), study.space.domains["b"].when)
        study.plot_parallel()
    """
    shown = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    ).stdout
    assert "'(8, 8)', '0.1', '0.2', 'relu'" in shown
    assert "{'a': (0.1, 'relu')}" in shown


@pytest.mark.parametrize(
    "space",
    [
        {"a": Choice(1, "1", True, None, 1.0), "b": Bool(), "fail": Float(0, 1, step=0.25)},
        [{"a": Int(1, 64, log=True)}, {"a": Int(70, 80), "b": Float(1e-4, 1, log=True)}],
        {"a": Choice((1, 2), [3], {"deep": 1}), "b": Int(2, 8, step=2, when={"a": ((1, 2),)})},
    ],
)
def test_a_space_is_the_same_after_it_was_recorded(space: Any) -> None:
    made = Space.of(Bowl(), space)
    again = Space.recorded(made.described())
    plain = repr(made) == repr(again)
    assert plain or "{'deep': 1}" in repr(again)
    generator = np.random.default_rng(0)
    for point in [made.draw(generator) for _ in range(20)]:
        assert again.active(again.from_json(made.to_json(point))) == list(point)


def test_objects_with_the_same_text_are_told_apart() -> None:
    made = Space.of(Bowl(), {"a": Choice(lambda: 1, lambda: 2)})
    first, second = Space.recorded(made.described()).domains["a"].values  # type: ignore[attr-defined]
    assert first != second and first.startswith("0: ")


def test_a_study_is_loaded_while_it_runs(tmp_path: Path) -> None:
    seen: list[int] = []

    class Looks(Told):
        def on_trial_end(self, study: Any, trial: Any) -> None:
            loaded = load_study(tmp_path)
            seen.append(len(loaded.top(100)))
            assert len(loaded.cv_results_["params"]) == trial.id + 1

        def on_trial_begin(self, study: Any, trial: Any) -> None:
            assert load_study(tmp_path).trials[-1].state == "running"

    sklearn_search(callbacks=[Looks()], directory=tmp_path).fit(X, R)
    assert seen == [1, 2, 3, 4]


def test_reading_in_another_process_never_disturbs_a_search(tmp_path: Path) -> None:
    script = f"""
        import time
        from search import load_study
        print("ready", flush=True)
        until = time.monotonic() + {SECONDS}
        known = 0
        while known < 150 and time.monotonic() < until:
            try:
                table = load_study({str(tmp_path / "s")!r}).results_
            except ValueError as error:
                assert known == 0 and ("no such folder" in str(error) or "not begun" in str(error)
                                       or "is missing" in str(error)), error
                continue
            assert len(table) >= known, (len(table), known)
            known = len(table)
        print(known)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None and reader.stdout.readline() == "ready\n"
        sklearn_search(n_iter=150, directory=tmp_path / "s").fit(X, R)
        assert reader.communicate(timeout=WORK)[0] == "150\n"
    assert reader.returncode == 0


def test_nothing_in_the_directory_is_changed_and_none_of_it_need_be_writable(
    tmp_path: Path,
) -> None:
    sklearn_search(directory=tmp_path).fit(X, R)
    before = {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in tmp_path.iterdir()}
    tmp_path.chmod(0o555)
    try:
        assert len(load_study(tmp_path / "study.sqlite").results_) == 4
    finally:
        tmp_path.chmod(0o755)
    assert before == {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in tmp_path.iterdir()}


def test_a_killed_search_leaves_a_study_that_can_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        sklearn_search(callbacks=[Told(stop=2, error=KeyboardInterrupt())], directory=tmp_path).fit(
            X, R
        )
    copied = tmp_path / "copied"
    copied.mkdir()
    shutil.copy(tmp_path / "study.sqlite", copied)
    study = load_study(copied)
    assert study.results_.state.tolist() == ["completed"] * 2
    assert study.best_score_ > -1


def test_a_study_without_a_score_says_so(tmp_path: Path) -> None:
    search = sklearn_search(
        callbacks=[Told(stop=1)], scoring=lambda e, x, y: float("nan"), directory=tmp_path
    )
    with pytest.raises(RuntimeError, match="has a score"):
        search.fit(X, R)
    study = load_study(tmp_path)
    with pytest.raises(AttributeError, match="none of 1 trials has a score"):
        _ = study.best_params_
    assert "no trial has completed" in study.summary()


@pytest.mark.parametrize("name", sorted(p.parent.name for p in OLD.glob("*/study.sqlite")))
def test_a_study_of_0_1_0_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    copied = shutil.copytree(OLD / name, tmp_path / name)
    study = load_study(copied)
    assert len(study.results_) and study.best_params_
    assert study.space.domains.keys() == study.best_params_.keys() | study.space.domains.keys()
    with sqlite3.connect(copied / "study.sqlite") as database:  # it still has its old format
        assert database.execute("select value from study where name='format'").fetchone() == ("1",)


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda p: 5, TypeError, "directory=5: must be the name of a study's folder"),
        (lambda p: "", TypeError, "directory='': must be the name"),
        (lambda p: p / "frist", ValueError, "no such folder; did you mean 'first'"),
        (lambda p: p, ValueError, r"holds no study itself, but its folders do; write '.*begun'"),
        (lambda p: p / "empty", ValueError, r"holds no study \(study.sqlite is missing\)"),
        (lambda p: p / "text", ValueError, "in it is not a study"),
        (lambda p: p / "other", ValueError, r"is not a study \(its tables: prices\)"),
        (lambda p: p / "later", ValueError, "has format 99, and this version reads 1 to"),
        (lambda p: p / "damaged", ValueError, r"is damaged: 1 of 4 rows .* trials .* of 2;"),
        (lambda p: p / "begun", ValueError, "the study has not begun yet"),
    ],
)
def test_what_is_no_study_is_one_clear_error(
    make: Any, kind: type[Exception], says: str, tmp_path: Path, one_study: Path
) -> None:
    for name in ("first", "later", "damaged"):
        shutil.copytree(one_study, tmp_path / name)
    for name in ("empty", "text", "other", "begun"):
        (tmp_path / name).mkdir()
    (tmp_path / "text" / "study.sqlite").write_text("a study in prose " * 100)
    with sqlite3.connect(tmp_path / "other" / "study.sqlite") as database:
        database.execute("create table prices (price)")
    with sqlite3.connect(tmp_path / "later" / "study.sqlite") as database:
        database.execute("update study set value = '99' where name = 'format'")
    with sqlite3.connect(tmp_path / "damaged" / "study.sqlite") as database:
        database.execute("update trials set score = 7 where id = 2")
    Database(tmp_path / "begun" / "study.sqlite").close()
    with pytest.raises(kind, match=says):
        load_study(make(tmp_path))


@pytest.fixture(scope="module")
def one_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study")
    sklearn_search(directory=path).fit(X, R)
    return path


# ---- several studies -------------------------------------------------------------------------


def test_studies_are_compared_by_their_best_scores(tmp_path: Path) -> None:
    searches = [
        sklearn_search(n_iter=n, seed=n, directory=tmp_path / str(n)).fit(X, R) for n in (2, 6)
    ]
    table = compare([tmp_path / "2", load_study(tmp_path / "6")])
    assert sorted(table.study) == ["2", "6"]
    assert table.best.is_monotonic_decreasing
    by_name = table.set_index("study")
    assert by_name.loc["6", "best"] == searches[1].best_score_
    assert by_name.loc["6", "a"] == searches[1].best_params_["a"]
    assert by_name.loc["6", "trials_to_best"] == searches[1].best_index_ + 1
    assert compare({"one": searches[0], "two": searches[1]}).study.isin(["one", "two"]).all()


@pytest.mark.parametrize(
    ("studies", "kind", "says"),
    [
        ("studies/first", TypeError, "studies='studies/first': must be a list or a dict"),
        ([], ValueError, "must hold at least one study"),
        ("mixed", ValueError, "same objective, .*has score .*has accuracy"),
    ],
)
def test_studies_that_cannot_be_compared_are_refused(
    studies: Any, kind: type[Exception], says: str, tmp_path: Path
) -> None:
    if studies == "mixed":
        studies = [
            sklearn_search(n_iter=1, directory=tmp_path / "a").fit(X, R),
            sklearn_search(Nearest(), {"shift": [0.0]}, scoring="accuracy").fit(X, Y),
        ]
    with pytest.raises(kind, match=says):
        compare(studies)


def test_a_study_of_a_thousand_trials_is_loaded_whole(tmp_path: Path) -> None:
    sklearn_search(n_iter=1, directory=tmp_path).fit(X, R)
    database = Database(tmp_path / "study.sqlite")
    with database.transaction():
        for i in range(1, 1_000):
            known = {"id": i, "key": str(i), "state": "completed", "score": 0.5, "seed": i}
            known |= {"params": '{"a": 0.5}', "attempts": 1, "started": 1.0, "ended": 2.0}
            known["metrics"] = "{}"
            database.put("trials", [known.get(n) for n in TABLES["trials"].columns])
            database.put("folds", (i, 0, 0, 0.5, "{}", 0.1, 0.1))
    database.settle()
    database.close()
    study = load_study(tmp_path)
    assert study.results_.trial.tolist() == list(range(1_000)) and len(study.top(5)) == 5
