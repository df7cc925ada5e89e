"""The prediction of a Gaussian process is scikit-learn's own, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel

from search.proposers.gaussian import predict


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kernel", [Matern(nu=2.5), Matern() + WhiteKernel(0.1)], ids=str)
def test_mean_and_deviation_are_scikit_learns(kernel: object, normalize: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((20, 3)), rng.normal(size=20) * 5 + 2
    process = GaussianProcessRegressor(
        kernel, alpha=1e-4, normalize_y=normalize, random_state=0
    ).fit(x, y)
    for points in (rng.random((7, 3)), x[:1]):
        mean, deviation = predict(process, points)
        expected = process.predict(points, return_std=True)
        np.testing.assert_array_equal(mean, expected[0])
        np.testing.assert_array_equal(deviation, expected[1])
