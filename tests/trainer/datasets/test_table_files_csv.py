"""The user's own tables."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest

from trainer import datasets


def rows_of(dataset):
    return [len(part.x) for part in (dataset.train, dataset.valid, dataset.test)]


@pytest.fixture
def table(tmp_path):
    """100 rows of a number with gaps, a word, and three kinds of targets."""
    frame = pd.DataFrame(
        {
            "size": np.where(np.arange(100) % 10 == 3, np.nan, np.arange(100) / 4),
            "town": ["York", "Bath", None, "Ely"] * 25,
            "price": np.linspace(1, 9, 100),
            "sold": [True, False] * 50,
            "kind": ["house", "flat"] * 50,
        }
    )
    path = tmp_path / "houses.csv"
    frame.to_csv(path, index=False)
    return path


def test_a_csv_keeps_its_columns_and_missing_values(table):
    dataset = datasets.load(table, target="price")
    whole = pd.concat([part.x for part in (dataset.train, dataset.valid, dataset.test)])
    as_read = pd.read_csv(table)
    pd.testing.assert_frame_equal(whole.sort_index(), as_read.drop(columns="price"))
    prices = pd.concat([part.y for part in (dataset.train, dataset.valid, dataset.test)])
    pd.testing.assert_series_equal(prices.sort_index(), as_read["price"])
    assert rows_of(dataset) == [60, 20, 20]
    assert "35 missing values" in dataset.description
    assert (dataset.name, dataset.source) == ("houses.csv", str(table))


def test_a_gzipped_csv_is_read_like_a_plain_one(table):
    packed = table.with_name("houses.csv.gz")
    packed.write_bytes(gzip.compress(table.read_bytes()))
    plain, unpacked = (datasets.load(path, target="price") for path in (table, packed))
    pd.testing.assert_frame_equal(plain.train.x, unpacked.train.x)


@pytest.mark.parametrize(
    ("target", "task", "class_names"),
    [
        ("price", "regression", None),
        ("sold", "classification", ["False", "True"]),
        ("kind", "classification", ["flat", "house"]),
    ],
)
def test_the_target_decides_the_task_of_a_csv(target, task, class_names, table):
    dataset = datasets.load(str(table), target=target)
    assert (dataset.task, dataset.class_names) == (task, class_names)


def test_text_targets_stay_text_and_are_stratified(table):
    dataset = datasets.load(table, target="kind")
    assert dataset.train.y.value_counts().to_dict() == {"house": 30, "flat": 30}
    assert dataset.test.y.value_counts().to_dict() == {"house": 10, "flat": 10}
    assert "stratified by class" in dataset.description


def test_a_rare_class_is_named_where_rows_are_not_stratified(tmp_path):
    labels = ["common"] * 27 + ["rare"] * 3
    path = tmp_path / "rare.csv"
    pd.DataFrame({"a": range(30), "label": labels}).to_csv(path, index=False)
    description = datasets.load(path, target="label").description
    assert "without stratification, because class 'rare' has only 3" in description


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, "to predict; write one of size, town, price, sold, kind$"),
        ("prize", r"target='prize': houses.csv has no such column; did you mean 'price'"),
        ("q", "no such column; choose one of 'kind', 'price', 'size', 'sold', 'town'$"),
    ],
)
def test_a_wrong_csv_target_is_explained(target, message, table):
    with pytest.raises(ValueError, match=message):
        datasets.load(table, target=target)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", datasets.DataFileError, "bad.csv is empty"),
        (b" \n\n", datasets.DataFileError, "bad.csv is empty"),
        (
            b"a,b\n1,2\n1,2,3,4\n",
            datasets.DataFileError,
            r"line 3 has 4 cells, but the header has 2 \(separated by commas\): write one cell",
        ),
        (b"a,b,c\n1,2,3\n1,2\n", datasets.DataFileError, "line 3 has 2 cells, but the header has"),
        (b"a,b,c\n1,2,3\n1,2,3,4\n", datasets.DataFileError, "line 3 has 4 cells"),
        (b"a;b;c\n1;2;3\n1;2\n", datasets.DataFileError, r"line 3 has 2 .*by semicolons"),
        (b'a,b\n1,"2\n3,4\n', datasets.DataFileError, "bad.csv is incomplete or not a CSV file"),
        (
            b"a,b\n\xff\xfe\x1b,1\n",
            datasets.DataFileError,
            r"encoding of this file is unknown \(byte 0xff in line 2 is not UTF-8\); save it",
        ),
        (b"a,b\n\x89PNG\x00\x00\x01,1\n", datasets.DataFileError, "zero bytes, so it may not be"),
        (b"\xff\xfea", datasets.DataFileError, "the encoding of this file is unknown"),
        (b"a^b\n1^2\n3^4\n", ValueError, "its only column is 'a.b'; the cells .* separated by com"),
        (b"a,b\n", ValueError, "has no rows"),
        (b"b\n1\n2\n", ValueError, "no column other than the target 'b'"),
        (b"a,b\n1,1\n2,2\n", ValueError, "2 rows are too few to split: at least 5 are needed"),
        (b"a,b\n" + b"1,inf\n" * 6, ValueError, "6 values that are NaN or infinite"),
    ],
)
def test_an_unusable_csv_is_explained(content, error, message, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        datasets.load(path, target="b")


def test_a_cut_off_gzipped_csv_is_named(table):
    packed = table.with_name("cut.csv.gz")
    packed.write_bytes(gzip.compress(table.read_bytes())[:200])
    with pytest.raises(datasets.DataFileError, match=re.escape(str(packed))):
        datasets.load(packed, target="price")


def test_the_california_table_is_read_whole(shared_data):
    path = shared_data / "california_housing.csv.gz"
    dataset = datasets.load(path, target="median_house_value")
    assert rows_of(dataset) == [12_384, 4_128, 4_128]
    parts = (dataset.train.x, dataset.valid.x, dataset.test.x)
    assert sum(int(x["total_bedrooms"].isna().sum()) for x in parts) == 207
    assert dataset.task == "regression"
    proximity = datasets.load(path, target="ocean_proximity")
    assert proximity.class_names == ["<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN"]


def test_a_mistyped_file_is_answered_with_its_neighbour(table):
    with pytest.raises(FileNotFoundError, match=r"no such file or folder; did you mean 'houses.c"):
        datasets.load(table.with_name("house.csv"), target="price")


def test_a_missing_file_among_thousands_is_not_answered_with_all_of_them(tmp_path):
    for number in range(2000):
        (tmp_path / f"{number}.npy").touch()
    with pytest.raises(
        FileNotFoundError, match=r"'0.npy', '1.npy', .* \(and 1960 more\)$"
    ) as caught:
        datasets.load(tmp_path / "houses.csv", target="price")
    assert len(str(caught.value)) < 1000


def test_rows_without_a_target_are_left_out_with_a_warning_that_counts_them(table):
    with pytest.warns(UserWarning, match=r"'town': 25 of 100 rows .*first rows: 2, 6, 10, 14, 18,"):
        dataset = datasets.load(table, target="town")
    assert rows_of(dataset) == [45, 15, 15]
    assert dataset.class_names == ["Bath", "Ely", "York"]
    with pytest.raises(
        ValueError, match="25 of 100 rows of houses.csv have no value .*; remove th"
    ):
        datasets.load(table, target="town", missing_target="raise")


def test_a_target_without_any_value_is_refused(tmp_path):
    path = tmp_path / "blank.csv"
    path.write_text("a,b\n" + "1,\n" * 6)
    with pytest.raises(ValueError, match="6 of 6 rows .* none remains; choose another column"):
        datasets.load(path, target="b")


def test_whole_numbers_with_gaps_as_a_target_are_classes(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("a,b\n" + "1,0\n2,1\n3,\n" * 10)
    with pytest.warns(UserWarning, match="10 of 30 rows"):
        dataset = datasets.load(path, target="b")
    assert (dataset.task, dataset.class_names) == ("classification", ["0", "1"])
