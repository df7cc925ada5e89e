"""What trainer.history promises: exact records, exact files, and errors that help."""

from __future__ import annotations

import copy
import doctest
import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest

import trainer.history
from trainer.history import History, known_mode

matplotlib.use("Agg")


def three_epochs() -> History:
    """Validation every second epoch; the last loss is NaN."""
    history = History()
    history.append(1, {"loss": 0.9, "accuracy": 0.5}, learning_rate=0.1, seconds=2.0)
    logs = {"loss": 0.1 + 0.2, "accuracy": 0.75, "val_loss": math.inf}
    history.append(2, logs, learning_rate=0.1, seconds=1.5)
    history.append(3, {"loss": math.nan, "accuracy": 0.25}, learning_rate=0.01, seconds=1.25)
    return history


def test_a_record_holds_the_epoch_every_log_the_rate_and_the_seconds() -> None:
    first = three_epochs().records[0]
    assert first == {
        "epoch": 1,
        "loss": 0.9,
        "accuracy": 0.5,
        "learning_rate": 0.1,
        "seconds": 2.0,
    }
    assert type(first["epoch"]) is int


def test_the_frame_has_a_row_an_epoch_and_the_logs_in_order_of_appearance() -> None:
    expected = pd.DataFrame(
        {
            "loss": [0.9, 0.1 + 0.2, math.nan],
            "accuracy": [0.5, 0.75, 0.25],
            "val_loss": [math.nan, math.inf, math.nan],
            "learning_rate": [0.1, 0.1, 0.01],
            "seconds": [2.0, 1.5, 1.25],
        },
        index=pd.Index([1, 2, 3], name="epoch"),
    )
    pd.testing.assert_frame_equal(three_epochs().frame, expected, check_exact=True)


def test_the_frame_of_no_epochs_has_the_same_types() -> None:
    frame = History().frame
    assert frame.shape == (0, 2)
    assert frame.index.name == "epoch"
    assert frame.index.dtype == "int64"
    assert set(frame.dtypes) == {np.dtype("float64")}


def test_metrics_are_the_logs_without_rate_and_seconds() -> None:
    assert three_epochs().metrics == ["loss", "accuracy", "val_loss"]


def test_a_log_is_read_by_name_with_nan_where_an_epoch_lacks_it() -> None:
    history = three_epochs()
    assert history["accuracy"] == [0.5, 0.75, 0.25]
    np.testing.assert_equal(history["val_loss"], [math.nan, math.inf, math.nan])
    assert history["epoch"] == [1, 2, 3]
    assert len(history) == 3


def test_an_unknown_log_is_answered_with_near_names() -> None:
    with pytest.raises(KeyError, match=r"'acuracy' was not logged; did you mean 'accuracy'\?"):
        three_epochs()["acuracy"]


def test_an_index_is_answered_with_the_way_to_the_record() -> None:
    with pytest.raises(KeyError, match=r"write history\.records\[0\]"):
        three_epochs()[0]  # type: ignore[index]


def test_membership_is_about_names_and_iteration_is_refused() -> None:
    assert "val_loss" in three_epochs()
    assert "val_accuracy" not in three_epochs()
    with pytest.raises(TypeError, match="not iterable"):
        list(three_epochs())  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "value",
    [np.float32(0.5), np.array(0.5), np.array([[0.5]]), np.float16(0.5), 0.5],
    ids=["float32", "0-d", "one element", "float16", "float"],
)
def test_any_single_number_becomes_a_float(value: Any) -> None:
    history = History()
    history.append(1, {"loss": value}, learning_rate=None, seconds=1)
    assert history["loss"] == [0.5]
    assert type(history["loss"][0]) is float


def test_an_unknown_learning_rate_is_nan() -> None:
    history = History()
    history.append(1, {"loss": 1.0}, learning_rate=None, seconds=1.0)
    assert math.isnan(history["learning_rate"][0])


def test_a_learning_rate_among_the_logs_counts_where_none_is_given() -> None:
    history = History()
    history.append(1, {"loss": 1.0, "learning_rate": 0.5}, learning_rate=None, seconds=1.0)
    history.append(2, {"loss": 1.0, "learning_rate": 0.5}, learning_rate=0.25, seconds=1.0)
    assert history["learning_rate"] == [0.5, 0.25]
    assert history.metrics == ["loss"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epoch": 0}, ValueError, "epoch=0: must be 1 or more"),
        ({"epoch": 2**63}, ValueError, "epoch is larger than 9223372036854775807"),
        ({"epoch": 10**400}, ValueError, "epoch is larger than 9223372036854775807"),
        ({"seconds": 10**400}, TypeError, "seconds=1.*must be a number"),
        ({"epoch": 3}, ValueError, "epochs up to 3 are already recorded; write epoch=4"),
        ({"epoch": 4.5}, TypeError, "epoch=4.5: must be a whole number"),
        ({"logs": {"f1": np.zeros(10)}}, TypeError, r"logs\['f1'\]: contains 10 values.*macro"),
        ({"logs": {"loss": "0.5"}}, TypeError, r"logs\['loss'\]='0.5': must be a number"),
        ({"logs": {"loss": None}}, TypeError, r"logs\['loss'\]=None: must be a number"),
        ({"logs": {"loss": 1j}}, TypeError, r"logs\['loss'\]=1j: must be a number"),
        ({"logs": {7: 0.5}}, TypeError, "the name 7 must be a str"),
        ({"logs": {"seconds": 1.0}}, ValueError, "'seconds'.*this name is reserved"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate='fast': must be a number"),
        ({"seconds": None}, TypeError, "seconds=None: must be a number"),
    ],
)
def test_a_bad_epoch_is_named_and_changes_nothing(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    history = three_epochs()
    good = {"epoch": 4, "logs": {"loss": 0.5}, "learning_rate": 0.1, "seconds": 1.0}
    with pytest.raises(error, match=message):
        history.append(**{**good, **change})
    assert history == three_epochs()


def test_equality_looks_at_every_number_and_takes_nan_for_nan() -> None:
    assert three_epochs() == three_epochs()
    other = three_epochs()
    other.records[1]["loss"] = math.nextafter(other.records[1]["loss"], 1)
    assert other != three_epochs()
    shorter = three_epochs()
    del shorter.records[-1]
    assert shorter != three_epochs()
    assert three_epochs() != "a history"


def test_a_history_survives_pickling_and_copying() -> None:
    history = three_epochs()
    assert pickle.loads(pickle.dumps(history)) == history
    twin = copy.deepcopy(history)
    twin.append(4, {"loss": 1.0}, learning_rate=0.1, seconds=1.0)
    assert len(history) == 3


def test_the_repr_is_short_and_shows_the_last_values() -> None:
    assert repr(History()) == "History(0 epochs)"
    assert repr(three_epochs()) == "History(3 epochs; last: loss=nan, accuracy=0.25)"
    many = History()
    many.append(1, {f"metric_{i}": i / 3 for i in range(50)}, learning_rate=None, seconds=1)
    assert repr(many).startswith("History(1 epoch; last: metric_0=0, metric_1=0.3333, ")
    assert repr(many).endswith(", ...)")
    assert len(repr(many)) < 140


def test_the_best_epoch_goes_by_the_direction_that_the_name_tells() -> None:
    history = three_epochs()
    assert history.best("loss") == (2, 0.1 + 0.2)
    assert history.best("accuracy") == (2, 0.75)
    assert history.best("accuracy", mode="min") == (3, 0.25)
    assert history.best("seconds", mode="min") == (3, 1.25)


def test_the_first_of_equal_epochs_is_the_best() -> None:
    history = History()
    for epoch in (5, 6, 7):
        history.append(epoch, {"loss": 0.5, "auc": 0.5}, learning_rate=None, seconds=1)
    assert history.best("loss") == (5, 0.5)
    assert history.best("auc") == (5, 0.5)


def test_the_best_of_what_is_unknown_or_never_finite_is_an_error() -> None:
    history = three_epochs()
    with pytest.raises(ValueError, match=r'name=\'seconds\'.*write mode="min" or mode="max"'):
        history.best("seconds")
    with pytest.raises(ValueError, match="name='val_loss': no epoch has a finite value"):
        history.best("val_loss")
    with pytest.raises(KeyError, match="did you mean 'val_loss'"):
        history.best("val_los")
    with pytest.raises(ValueError, match="mode='up': must be one of 'min', 'max'"):
        history.best("loss", mode="up")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (
            "max",
            "accuracy val_accuracy sparse_top_k_categorical_accuracy acc auc auc_1 precision_2 "
            "recall precision_at_recall f1_score fbeta_score val_head_r2_score io_u mean_io_u "
            "one_hot_mean_io_u cosine_similarity pearson_correlation concordance_correlation "
            "sensitivity_at_specificity specificity_at_sensitivity",
        ),
        (
            "min",
            "loss val_loss price_loss accuracy_loss mean_absolute_error price_mae rmse "
            "root_mean_squared_error sparse_categorical_crossentropy kl_divergence poisson "
            "categorical_hinge logcosh mean_absolute_percentage_error mse",
        ),
        (
            None,
            "seconds learning_rate true_positives false_negatives glossary terror mean lossy map",
        ),
    ],
)
def test_the_direction_of_keras_metrics_is_known_by_name(mode: str | None, names: str) -> None:
    wrong = {name: known_mode(name) for name in names.split() if known_mode(name) != mode}
    assert not wrong


def test_json_keeps_every_bit_and_is_strict(tmp_path: Path) -> None:
    history = three_epochs()
    history.append(4, {"loss": -math.inf, "tiny": 5e-324}, learning_rate=None, seconds=1 / 3)
    history.to_json(tmp_path / "history.json")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    text = (tmp_path / "history.json").read_text()
    assert json.loads(text, parse_constant=refuse)["records"][3]["loss"] == "-Infinity"
    again = History.from_json(tmp_path / "history.json")
    assert again == history
    assert again.metrics == history.metrics
    pd.testing.assert_frame_equal(again.frame, history.frame, check_exact=True)


def test_a_dict_goes_through_json_and_back() -> None:
    data = json.loads(json.dumps(three_epochs().to_dict(), allow_nan=False))
    assert History.from_dict(data) == three_epochs()
    assert History.from_dict(History().to_dict()) == History()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "data: is not a history"),
        ({"epochs": 3}, "a dict with a list of 'records'"),
        ({"records": [3]}, r"data\['records'\]\[0\]: is not the record of an epoch"),
        ({"records": [{"epoch": 1, "seconds": 1.0}]}, "learning_rate"),
        (
            {"records": [{"epoch": 1, "loss": "big", "learning_rate": 0.1, "seconds": 1.0}]},
            "'big'",
        ),
        ({"records": [{"epoch": 1, "loss": [1], "learning_rate": 0.1, "seconds": 1}]}, r"\[0\]"),
    ],
)
def test_a_dict_that_is_no_history_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        History.from_dict(data)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'{"layers": []}', None])
def test_a_foreign_or_cut_off_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "history.json"
    three_epochs().to_json(path)
    path.write_bytes(path.read_bytes()[:-20] if content is None else content)
    with pytest.raises(ValueError, match=r"history\.json': is not a history written by to_json"):
        History.from_json(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent.json"):
        History.from_json(tmp_path / "absent.json")


def test_csv_leaves_what_was_not_logged_empty_and_keeps_nan_and_infinity(tmp_path: Path) -> None:
    three_epochs().to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_bytes().decode().split("\n") == [
        "epoch,loss,accuracy,val_loss,learning_rate,seconds",
        "1,0.9,0.5,,0.1,2.0",
        "2,0.30000000000000004,0.75,inf,0.1,1.5",
        "3,nan,0.25,,0.01,1.25",
        "",
    ]


def test_csv_is_read_by_pandas_as_the_frame(tmp_path: Path) -> None:
    three_epochs().to_csv(tmp_path / "history.csv")
    read = pd.read_csv(tmp_path / "history.csv", index_col="epoch")
    pd.testing.assert_frame_equal(read, three_epochs().frame, rtol=1e-15)


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files, as POSIX can")
@pytest.mark.parametrize("form", ["to_csv", "to_json"])
def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path, form: str) -> None:
    import resource

    path = tmp_path / "history"
    three_epochs().to_json(path)
    before = path.read_bytes()
    long = History()
    for epoch in range(1, 500):
        long.append(epoch, {"loss": 1 / epoch}, learning_rate=0.1, seconds=1.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="could not be written.*anything there before is unchan"):
            getattr(long, form)(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["history"]


@pytest.mark.parametrize("form", ["to_csv", "to_json"])
def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, form: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"path='.*absent/h': could not be written"):
        getattr(three_epochs(), form)(tmp_path / "absent" / "h")


def test_a_folder_in_the_place_of_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "history.csv").mkdir()
    with pytest.raises(OSError, match=r"path='.*history\.csv': could not be written"):
        three_epochs().to_csv(tmp_path / "history.csv")
    assert os.listdir(tmp_path) == ["history.csv"]


def test_a_process_killed_while_writing_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    three_epochs().to_json(path)
    before = path.read_bytes()
    # Dies where the new bytes are written and not yet renamed.
    code = (
        "import os, sys; from trainer.history import History\n"
        "os.fsync = lambda descriptor: os._exit(9)\n"
        "History().to_json(sys.argv[1])"
    )
    dead = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert dead.returncode == 9
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes and links")
def test_a_link_stays_a_link_and_the_file_gets_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    three_epochs().to_json(tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert History.from_json(tmp_path / "real.json") == three_epochs()
    assert (tmp_path / "real.json").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_plot_draws_this_history() -> None:
    axes = three_epochs().plot(names="accuracy")
    assert len(axes) == 1
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), [0.5, 0.75, 0.25])


def test_the_examples_in_the_docstrings_run() -> None:
    result = doctest.testmod(trainer.history)
    assert result.attempted >= 5
    assert result.failed == 0


def test_importing_history_and_plots_imports_nothing_slow() -> None:
    code = (
        "import sys, trainer.history, trainer.plots\n"
        "print([m for m in ('tensorflow', 'keras', 'matplotlib', 'pandas', 'sklearn') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [5, None, ""])
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    calls = (three_epochs().to_csv, three_epochs().to_json, History.from_csv, History.from_json)
    for call in calls:
        with pytest.raises(TypeError, match=rf"path={path!r}: must be the name of a file"):
            call(path)


def test_names_to_plot_are_text() -> None:
    with pytest.raises(TypeError, match=r"names=5: must be the name of a log, or a list"):
        three_epochs().plot(5)  # type: ignore[arg-type]
