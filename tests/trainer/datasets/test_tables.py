"""tables: rows keep their targets and columns, and the seed alone decides on the splits."""

import numpy as np
import pytest
import sklearn.datasets

from trainer import datasets
from trainer.datasets import tables


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_every_row_of_a_bundled_set_is_in_one_split_with_its_own_target(name):
    whole = getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame
    found = tables.LOADERS[name](5)
    rows = []
    for x, y in (found.train, found.valid, found.test):
        assert list(x.columns) == list(whole.columns[:-1])
        np.testing.assert_array_equal(y, whole.loc[x.index].iloc[:, -1])
        rows += x.index.tolist()
    assert sorted(rows) == whole.index.tolist()


def test_a_seed_gives_the_same_rows_again_and_another_one_others():
    first, again, other = (tables.digits(seed).test.x for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_names_of_classes_are_those_of_the_labels_and_numbers_have_none():
    bunch = sklearn.datasets.load_wine()
    assert tables.wine(0).class_names == bunch.target_names.tolist()
    assert tables.diabetes(0).class_names is None


def test_houses_keep_their_prices(published):
    x, y = published.california_housing()
    found = tables.california_housing(0)
    price = {row.tobytes(): value for row, value in zip(x, y, strict=True)}
    for rows, prices in (found.train, found.valid, found.test):
        assert [price[row.tobytes()] for row in rows] == prices.tolist()


def test_a_file_with_other_columns_is_refused_with_its_shape(published):
    published._houses("boston_housing", 8)
    with pytest.raises(datasets.DataFileError, match=r"shape \(80, 8\), not 13 columns"):
        tables.boston_housing(0)


def test_the_sets_that_are_downloaded_are_the_two_on_houses():
    assert set(tables.published()) == {"boston_housing", "california_housing"}
    assert set(tables.published()) < set(tables.LOADERS)
