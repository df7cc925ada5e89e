"""What `load` is asked for, and the object that it answers with."""

import doctest

import pytest

from trainer import datasets
from trainer.datasets import loading


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name_or_path": "mnst"}, ValueError, r"did you mean 'mnist'\?"),
        ({"name_or_path": "Fashion-MNIST"}, ValueError, r"did you mean 'fashion_mnist'\?"),
        ({"name_or_path": "qqq"}, ValueError, "a path must be .csv .*; choose one of 'boston"),
        ({"name_or_path": ""}, ValueError, "no data set has this name"),
        ({"name_or_path": 3}, TypeError, "name_or_path=3: must be"),
        (
            {"name_or_path": "no/file.csv"},
            FileNotFoundError,
            "; the folder 'no' does not exist either",
        ),
        ({"name_or_path": "iris", "target": "y"}, ValueError, "target='y': only for files"),
        ({"name_or_path": "iris", "target": 3}, TypeError, "target=3: must be the name"),
        ({"name_or_path": "iris", "seed": -1}, ValueError, "seed=-1: must be an integer from 0"),
        ({"name_or_path": "iris", "seed": 2**32}, ValueError, "seed=4294967296: must be"),
        ({"name_or_path": "iris", "seed": True}, ValueError, "seed=True: must be"),
        ({"name_or_path": "iris", "seed": 0.5}, ValueError, "seed=0.5: must be"),
        (
            {"name_or_path": "iris", "image_size": (8, 8)},
            ValueError,
            "image_size: only for folders",
        ),
        ({"name_or_path": "iris", "broken_images": "skip"}, ValueError, "and iris is not one"),
        ({"name_or_path": "iris", "broken_images": "drop"}, ValueError, "one of 'raise', 'skip'"),
        ({"name_or_path": "iris", "missing_target": "skip"}, ValueError, "one of 'drop', 'raise'"),
        ({"name_or_path": ".", "image_size": 64}, ValueError, r"image_size=64: .*as \(64, 64\)"),
        ({"name_or_path": ".", "image_size": (0, 8)}, ValueError, r"image_size=\(0, 8\): must be"),
        ({"name_or_path": ".", "image_size": (True, 8)}, ValueError, r"\(True, 8\): must be"),
        ({"name_or_path": ".", "image_size": (8, 10**6)}, ValueError, "each from 1 to 10,000"),
        ({"name_or_path": ".", "image_size": (8.5, 8)}, ValueError, "must be the height and width"),
    ],
)
def test_a_wrong_argument_is_explained(arguments, error, message):
    with pytest.raises(error, match=message):
        datasets.load(**arguments)


def test_an_unknown_kind_of_file_is_answered_with_the_known_kinds(tmp_path):
    path = tmp_path / "data.docx"
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"cannot read this kind of file; pass \.csv or \.csv\.gz"):
        datasets.load(path)


def test_a_name_goes_before_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "iris").mkdir()
    assert datasets.load("iris").source.startswith("R. A. Fisher")
    with pytest.raises(ValueError, match="iris contains no folders"):
        datasets.load("./iris")


def test_the_repr_shows_the_shapes_and_the_object_is_frozen():
    dataset = datasets.load("iris")
    assert repr(dataset) == (
        "Dataset('iris', classification, 3 classes, train: x (90, 4) y (90,), "
        "valid: x (30, 4) y (30,), test: x (30, 4) y (30,))"
    )
    with pytest.raises(AttributeError):
        dataset.name = "roses"


def test_the_example_in_the_docstring_runs():
    result = doctest.testmod(loading)
    assert (result.attempted, result.failed) == (3, 0)


def test_where_a_file_is_missing_only_data_are_offered(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data are in its folder"):
        datasets.load(tmp_path / "houses.csv")
    for name in ("train.py", ".hidden.csv", "numbers.npz"):
        (tmp_path / name).touch()
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match="choose one of 'numbers.npz', 'photos'$"):
        datasets.load(tmp_path / "houses.csv")
