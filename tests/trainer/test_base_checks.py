"""scikit-learn's own battery of checks: every one, with no expected failures."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from trainer import Classifier, Regressor


@parametrize_with_checks([Classifier(), Regressor()])
def test_scikit_learns_check_passes(estimator, check):
    check(estimator)
