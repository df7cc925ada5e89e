"""Tabular data sets: two on house prices, and those included in scikit-learn.

x is a DataFrame if the column names are known, else a float array of shape (n, columns);
the images of `digits` are the exception, uint8 of shape (n, 8, 8).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainer.datasets import labels
from trainer.datasets.cache import KERAS_FILES, PublishedFile, fetch, reading
from trainer.datasets.dataset import Dataset, Task
from trainer.datasets.pickled import read_npz
from trainer.datasets.splits import (
    KERAS_SEED,
    as_dataset,
    check_rows,
    keras_train_and_test,
    split_in_three,
    split_off_validation,
)

BOSTON_FILE = PublishedFile(
    name="boston_housing.npz",
    origin=f"{KERAS_FILES}boston_housing.npz",
    file_hash="f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5",
)
CALIFORNIA_FILE = PublishedFile(
    name="california_housing.npz",
    origin=f"{KERAS_FILES}california_housing.npz",
    file_hash="1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f",
)
BOSTON_COLUMNS = [
    "CRIM",
    "ZN",
    "INDUS",
    "CHAS",
    "NOX",
    "RM",
    "AGE",
    "DIS",
    "RAD",
    "TAX",
    "PTRATIO",
    "B",
    "LSTAT",
]


def boston_housing(seed: int) -> Dataset:
    """Load Boston Housing, in the train/test split of keras.datasets."""
    import pandas as pd

    x, y = _housing("boston_housing", BOSTON_FILE, n_columns=len(BOSTON_COLUMNS))
    order = np.random.RandomState(KERAS_SEED).permutation(len(x))
    frame = pd.DataFrame(x[order], columns=BOSTON_COLUMNS)
    prices = pd.Series(y[order], name="MEDV")
    return as_dataset(
        split_off_validation(*keras_train_and_test(frame, prices), "regression", seed),
        name="boston_housing",
        task="regression",
        description="Suburbs of Boston in the 1970s and the median price of their houses in "
        "thousands of dollars. The column B was derived from the residents' race: use it only to "
        "compare with older work, and prefer california_housing.",
        source="D. Harrison, D. L. Rubinfeld (1978): Hedonic Housing Prices and the Demand for "
        "Clean Air, J. Environ. Economics and Management 5, 81-102; StatLib",
    )


def california_housing(seed: int) -> Dataset:
    """Load California Housing, split with `seed`."""
    x, y = _housing("california_housing", CALIFORNIA_FILE, n_columns=8)
    return as_dataset(
        split_in_three(x, y, "regression", seed),
        name="california_housing",
        task="regression",
        # No column names: Keras documents them in an order that differs from the file's
        # (keras-team/keras#21886), and a wrong name is worse than none.
        description="Census block groups of California in 1990, with eight numbers each "
        "(longitude, latitude and others), and the median value of their houses in dollars.",
        source="R. K. Pace, R. Barry (1997): Sparse Spatial Autoregressions, Statistics and "
        "Probability Letters 33, 291-297; StatLib",
    )


def _housing(dataset: str, file: PublishedFile, *, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    (path,) = fetch(dataset, [file])
    with reading(path, f"the .npz file of {dataset}", cached=True):
        x, y = read_npz(path, ["x", "y"])
        check_rows(x, y, x_name="x", y_name="y")
        if x.shape[1:] != (n_columns,):
            raise ValueError(f"its x has shape {x.shape}, not {n_columns} columns")
    return x, y


def digits(seed: int) -> Dataset:
    """Load scikit-learn's digits, split with `seed`."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return as_dataset(
        split_in_three(bunch.images.astype(np.uint8), bunch.target, "classification", seed),
        name="digits",
        task="classification",
        class_names=labels.DIGITS,
        description="Greyscale images of handwritten digits, 8 x 8 pixels from 0 to 16.",
        source="E. Alpaydin, C. Kaynak (1998): Optical Recognition of Handwritten Digits, UCI "
        "Machine Learning Repository",
    )


def iris(seed: int) -> Dataset:
    """Load scikit-learn's iris, split with `seed`."""
    return _bundled(
        "iris",
        "classification",
        seed,
        description="Flowers of three species of iris, measured in centimetres.",
        source="R. A. Fisher (1936): The Use of Multiple Measurements in Taxonomic Problems, "
        "Annals of Eugenics 7, 179-188",
    )


def wine(seed: int) -> Dataset:
    """Load scikit-learn's wine, split with `seed`."""
    return _bundled(
        "wine",
        "classification",
        seed,
        description="Chemical analyses of wines from three growers in one region of Italy.",
        source="S. Aeberhard, M. Forina (1992): Wine, UCI Machine Learning Repository",
    )


def breast_cancer(seed: int) -> Dataset:
    """Load scikit-learn's breast cancer data, split with `seed`."""
    return _bundled(
        "breast_cancer",
        "classification",
        seed,
        description="Cell nuclei of breast tumours, measured in images; malignant or benign.",
        source="W. Wolberg, O. Mangasarian, N. Street, W. Street (1993): Breast Cancer Wisconsin "
        "(Diagnostic), UCI Machine Learning Repository",
    )


def diabetes(seed: int) -> Dataset:
    """Load scikit-learn's diabetes data, split with `seed`."""
    return _bundled(
        "diabetes",
        "regression",
        seed,
        description="Patients with diabetes, with ten measurements each (centred and scaled by "
        "scikit-learn), and how far the disease had progressed a year later.",
        source="B. Efron, T. Hastie, I. Johnstone, R. Tibshirani (2004): Least Angle Regression, "
        "Annals of Statistics 32, 407-499",
    )


def _bundled(name: str, task: Task, seed: int, *, description: str, source: str) -> Dataset:
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
    return as_dataset(
        split_in_three(bunch.data, bunch.target, task, seed),
        name=name,
        task=task,
        class_names=list(map(str, bunch.target_names)) if task == "classification" else None,
        description=description,
        source=source,
    )


LOADERS: dict[str, Callable[[int], Dataset]] = {
    "boston_housing": boston_housing,
    "california_housing": california_housing,
    "digits": digits,
    "iris": iris,
    "wine": wine,
    "breast_cancer": breast_cancer,
    "diabetes": diabetes,
}


def published() -> dict[str, list[PublishedFile]]:
    """Return the files of each data set that is downloaded."""
    return {"boston_housing": [BOSTON_FILE], "california_housing": [CALIFORNIA_FILE]}
