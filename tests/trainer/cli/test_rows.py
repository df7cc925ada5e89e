"""The rows that a command is called with: which are used, and predictions as CSV."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trainer import Regressor
from trainer.cli import rows
from trainer.cli.command import WrongCall

GIVEN: dict[str, Any] = {
    "data": "house.csv",
    "target": "price",
    "split_seed": 0,
    "as_text": False,
    "image_size": None,
    "broken_images": "raise",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user with a table and arrays."""
    monkeypatch.chdir(tmp_path)
    lines = [f"{i},{2 * i}" for i in range(30)]
    Path("house.csv").write_text("\n".join(["size,price", *lines]))
    np.save("x.npy", np.arange(60.0).reshape(30, 2))
    np.save("y.npy", np.arange(30.0))
    return tmp_path.resolve()


def test_data_can_be_found_from_any_folder_and_named_sets_keep_their_names(folder: Path) -> None:
    assert rows.source(GIVEN) == {**GIVEN, "data": str(folder / "house.csv")}
    of_arrays = rows.source({**GIVEN, "data": "x.npy", "target": "y.npy"})
    assert of_arrays["target"] == str(folder / "y.npy")
    assert rows.source({**GIVEN, "data": "iris", "other": 1}) == {**GIVEN, "data": "iris"}
    with pytest.raises(WrongCall, match="--data '': must be a file, a folder of images, or"):
        rows.source({**GIVEN, "data": ""})


def test_all_rows_of_a_file_are_evaluated_and_need_a_target(folder: Path) -> None:
    x, y, what = rows.to_evaluate(Regressor(), rows.source(GIVEN))
    assert list(x.columns) == ["size"] and y.tolist() == list(range(0, 60, 2))
    assert what == "30 rows of house.csv"
    source = rows.source({**GIVEN, "data": "x.npy", "target": "y.npy"})
    x, y, what = rows.to_evaluate(Regressor(), source)
    assert len(x) == 30 and sorted(y) == list(range(30)) and what.startswith("30 rows of ")
    np.testing.assert_array_equal(x[:, 0], 2 * y)
    with pytest.raises(WrongCall, match="has no column 'prize', so that nothing .*write --target"):
        rows.to_evaluate(Regressor(), rows.source({**GIVEN, "target": "prize"}))


def test_rows_to_predict_are_in_the_order_of_the_file_without_the_target(folder: Path) -> None:
    x, files = rows.to_predict(None, "house.csv", "price")
    assert list(x.columns) == ["size"] and x["size"].tolist() == list(range(30)) and files is None
    assert list(rows.to_predict(None, "house.csv", None)[0].columns) == ["size", "price"]
    np.testing.assert_array_equal(rows.to_predict(None, "x.npy", None)[0], np.load("x.npy"))
    np.savez("rows.npz", x=[[1.0]], y=[2.0])
    np.testing.assert_array_equal(rows.to_predict(None, "rows.npz", None)[0], [[1.0]])


def test_what_cannot_be_predicted_is_named_with_what_can(folder: Path) -> None:
    np.savez("other.npz", b=[1], a=[2])
    Path("photos").mkdir()
    Path("rows.h5").touch()
    of_vectors = SimpleNamespace(model_=SimpleNamespace(input_shape=(None, 3)))
    for data, said in (
        ("none.csv", "--data none.csv: there is no such file, and no data set of this name"),
        ("other.npz", r"--data other.npz: has no array x; its arrays are \['a', 'b'\]"),
        ("photos", "--data photos: is a folder, and the model was not trained on images"),
        ("rows.h5", "--data rows.h5: rows to predict must be in a table"),
    ):
        with pytest.raises(WrongCall, match=said):
            rows.to_predict(of_vectors, data, None)


def test_a_target_that_a_table_has_not_is_named(folder: Path) -> None:
    with pytest.raises(WrongCall, match="--target prise: house.csv has no .* mean 'price'"):
        rows.check_column("house.csv", "prise")
    for data, target in (("house.csv", "price"), ("house.csv", None), ("x.npy", "prise")):
        rows.check_column(data, target)


def test_an_error_of_loading_has_the_options_of_the_call(folder: Path) -> None:
    for change, said in (
        ({"data": str(folder / "hause.csv")}, "^--data '.*hause.csv'"),
        ({"target": "prize"}, "^--target 'prize'"),
    ):
        with pytest.raises(WrongCall, match=said):
            rows.load({**GIVEN, **change})
    dataset = rows.load(GIVEN)
    x, y = rows.training_rows(dataset, with_valid=True)
    assert len(x) == len(y) == len(dataset.train.x) + len(dataset.valid.x)
    assert len(rows.training_rows(dataset, with_valid=False)[0]) == len(dataset.train.x)


class Fitted:
    """What `predictions` asks of a Trainer."""

    def __init__(self, found: Any, **more: Any) -> None:
        self.found = found
        self.__dict__.update(more)

    def predict(self, x: Any, *, extra_columns: str) -> Any:
        return self.found

    def predict_proba(self, x: Any, *, extra_columns: str) -> np.ndarray:
        return np.array([[0.25, 0.75], [1.0, 0.0]])


def test_predictions_have_a_column_for_each_output_class_and_file() -> None:
    labels = Fitted(np.array(["=yes", "no"]), classes_=np.array(["no", "=yes"]))
    found = rows.predictions(labels, [0, 1], ["a.png", "b.png"], extra_columns="raise")
    header, first, second = found.splitlines()
    assert header == "file,prediction,probability_no,probability_=yes"
    assert first.startswith("a.png,'=yes,"), "a spreadsheet would run it"
    assert second == "b.png,no,1.0,0.0"
    several = Fitted({"a": np.array([1, 2]), "b": np.array([[3.0, 4.0], [5.0, 6.0]])})
    found = rows.predictions(several, [0, 1], None, extra_columns="raise")
    assert found.splitlines() == [
        "prediction['a'],prediction['b']_0,prediction['b']_1",
        "1,3.0,4.0",
        "2,5.0,6.0",
    ]
