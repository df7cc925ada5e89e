"""The importance of parameters against shares that are known, and its picture."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from plotted import (
    SPACE,
    drawn,
    table,
    written,
)

from search.plots import (
    importance,
    plot_importance,
)
from search.space import Space
from trainer import Bool, Choice, Float, Int
from trainer.utils.figures import WRONG

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


# Importance


def additive(n: int, noise: float = 0.0) -> tuple[pd.DataFrame, Space]:
    """A score of which the parameters have the shares 0.6, 0.3, 0.1 and 0."""
    rng = np.random.default_rng(1)
    space = Space(
        {
            "units": Int(1, 512),
            "kind": Choice("low", "high", None, 1),
            "rate": Float(1e-5, 1e-1, log=True),
            "idle": Float(0.0, 1.0),
        }
    )
    rows = [space.draw(rng) for _ in range(n)]
    # each effect has variance 1, of a uniform number or of the four choices
    rate = [np.sqrt(12) * np.log(p["rate"] / 1e-5) / np.log(1e4) for p in rows]
    units = [np.sqrt(12) * p["units"] / 512 for p in rows]
    kind = [{"low": -1, "high": 1, None: -1, 1: 1}[p["kind"]] for p in rows]
    score = np.sqrt(0.3) * np.array(kind) + np.sqrt(0.1) * np.array(units)
    score += np.sqrt(0.6) * np.array(rate) + noise * rng.standard_normal(n)
    return table(score.tolist()).join(pd.DataFrame(rows)), space


@pytest.mark.parametrize(("n", "noise", "tolerance"), [(800, 0.0, 0.04), (200, 0.3, 0.09)])
def test_importance_finds_the_known_shares_of_an_additive_function(
    n: int, noise: float, tolerance: float
) -> None:
    shares = importance(*additive(n, noise))
    assert list(shares.index[:3]) == ["rate", "kind", "units"]
    for name, share in {"rate": 0.6, "kind": 0.3, "units": 0.1}.items():
        assert shares[name] == pytest.approx(share, abs=tolerance)
    assert shares["idle"] < 0.02
    assert shares.sum() == pytest.approx(1)
    assert 0.75 < shares.attrs["r2"] <= 1


def test_importance_counts_an_interaction_for_both_of_its_parameters() -> None:
    rng = np.random.default_rng(0)
    space = Space({"a": Bool(), "b": Bool(), "idle": Float(0.0, 1.0)})
    rows = pd.DataFrame([space.draw(rng) for _ in range(200)])
    shares = importance(table((rows["a"] ^ rows["b"]).astype(float).tolist()).join(rows), space)
    np.testing.assert_allclose(shares[["a", "b"]], 0.5, atol=0.03)
    assert shares["idle"] < 0.02


def test_a_parameter_matters_only_as_often_as_its_condition_holds() -> None:
    # Half of the time the child is active and has variance 1: a total effect of 1/2. A new draw
    # of the parent switches the child on or off half of the time: half of 1/2 * E[child ** 2], 1/4.
    rng = np.random.default_rng(0)
    space = Space({"kind": Choice("a", "b"), "child": Float(-1.0, 1.0, when={"kind": ("a",)})})
    rows = [space.draw(rng) for _ in range(800)]
    scores = [float(np.sqrt(3) * p.get("child", 0.0)) for p in rows]
    shares = importance(table(scores).join(pd.DataFrame(rows)), space)
    assert shares["child"] == pytest.approx(2 / 3, abs=0.05)
    assert shares["kind"] == pytest.approx(1 / 3, abs=0.05)


def test_importance_is_of_the_space_and_not_of_where_the_search_looked() -> None:
    rng = np.random.default_rng(0)
    space = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})
    a = np.where(rng.random(600) < 0.8, 0.1 * rng.random(600), rng.random(600))
    b = rng.random(600)
    shares = importance(table((a + b).tolist(), a=a, b=b), space)
    assert np.var(a) / (np.var(a) + np.var(b)) < 0.4
    np.testing.assert_allclose(shares, 0.5, atol=0.06)


def test_importance_takes_the_first_trials_of_candidates_with_the_most_common_epochs() -> None:
    results, space = additive(60)
    plain = importance(results, space)
    results = results.assign(rung=0, epochs=2, parent=np.nan)
    later = results[:30].assign(trial=range(60, 90), rung=1, epochs=6, parent=range(30), score=9.0)
    other = results[:20].assign(trial=range(90, 110), epochs=6, score=-9.0)
    pd.testing.assert_series_equal(importance(pd.concat([results, later, other]), space), plain)


def test_importance_is_the_same_for_the_same_random_state() -> None:
    results, space = additive(40)
    one, two = (importance(results, space, random_state=3) for _ in range(2))
    pd.testing.assert_series_equal(one, two)
    assert not one.equals(importance(results, space, random_state=4))


def test_bars_are_the_shares_with_what_the_forest_explains() -> None:
    results, space = additive(100)
    shares = importance(results, space)
    ax = written(plot_importance(results, space, objective="val_loss"))
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], shares)
    assert [text.get_text() for text in ax.get_yticklabels()] == list(shares.index)
    assert ax.yaxis_inverted()
    assert [text.get_text() for text in ax.texts] == [f"{share:.1%}" for share in shares]
    r2 = shares.attrs["r2"]
    assert ax.get_title() == (
        f"the forest explains {r2:.0%} of the variance\n(out-of-bag R² {r2:.2f})"
    )
    for source in ("val_loss", "total effects", "random forest", "Breiman 2001", "Saltelli 1996"):
        assert source in ax.get_xlabel()


def test_importance_of_noise_is_called_noise() -> None:
    results = drawn(60)
    ax = written(plot_importance(results, SPACE, objective="val_loss"))
    assert importance(results, SPACE).attrs["r2"] < 0.1
    assert ax.get_title().startswith("the forest explains next to nothing: this is noise")
    assert ax.title.get_color() == WRONG
    assert ax.patches[0].get_facecolor() == matplotlib.colors.to_rgba("0.6")


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (drawn(9), "9 trials have a score that counts: must be 10 or more"),
        (drawn(30, failed=1.0), "0 trials have a score that counts"),
        (drawn(20).assign(score=0.5), "every score is 0.5"),
        (drawn(20).assign(rung=0), "results has no column 'epochs'"),
    ],
)
def test_importance_of_what_cannot_be_shared_out_is_refused(
    results: pd.DataFrame, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        importance(results, SPACE)


def test_importance_of_a_space_of_one_point_is_refused() -> None:
    space = Space({"units": Int(8, 8)})
    results = table(np.random.default_rng(0).random(12).tolist(), units=8)
    with pytest.raises(ValueError, match="no parameter differs between the trials"):
        importance(results, space)
