"""The prediction of a Gaussian process, without the checks that make up most of its time.

Responsible for giving, to the bit, what scikit-learn's own gives: what is proposed does not change.
Not for fitting.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def predict(process: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation at some points (Rasmussen and Williams 2006, algorithm 2.1).

    An acquisition function is evaluated thousands of times to find one trial, each time at one
    point, of which scikit-learn makes sure anew that it is a table of numbers.

    Args:
        process: a fitted sklearn.gaussian_process.GaussianProcessRegressor of one target.
        x: finite numbers, shape (points, dimensions).

    Returns:
        Both in shape (points,).
    """
    from scipy.linalg import solve_triangular

    covariance = process.kernel_(x, process.X_train_)
    mean = process._y_train_std * (covariance @ process.alpha_) + process._y_train_mean
    explained = solve_triangular(process.L_, covariance.T, lower=True, check_finite=False)
    variance = process.kernel_.diag(x) - np.einsum("ij,ji->i", explained.T, explained)
    return mean, np.sqrt(np.maximum(variance, 0) * process._y_train_std**2)
