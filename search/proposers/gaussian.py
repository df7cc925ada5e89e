"""The prediction of a Gaussian process, without the checks that take most of its time.

Responsible for returning, to the bit, what scikit-learn's own returns: proposals do not change. Not
for fitting.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def predict(process: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation at points (Rasmussen and Williams 2006, algorithm 2.1).

    To find one trial an acquisition function is evaluated thousands of times, at one point each,
    and each time scikit-learn validates that point as a table of numbers.

    Args:
        process: a fitted sklearn.gaussian_process.GaussianProcessRegressor with one target.
        x: finite numbers, shape (points, dimensions).

    Returns:
        Mean and standard deviation, each of shape (points,).
    """
    from scipy.linalg import solve_triangular

    covariance = process.kernel_(x, process.X_train_)
    mean = process._y_train_std * (covariance @ process.alpha_) + process._y_train_mean
    explained = solve_triangular(process.L_, covariance.T, lower=True, check_finite=False)
    variance = process.kernel_.diag(x) - np.einsum("ij,ji->i", explained.T, explained)
    return mean, np.sqrt(np.maximum(variance, 0) * process._y_train_std**2)
