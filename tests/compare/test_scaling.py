import numpy as np
import pytest
import statsmodels.api as sm

from limbeck.compare import cost_to_reach, scaling_curve

SIZES = np.array([100, 100, 1000, 1000, 10_000, 10_000])
VALUES = np.array([0.80, 0.82, 0.88, 0.90, 0.96, 0.98])


def test_a_line_by_hand() -> None:
    # 0.08 for each tenfold, seeds ±0.01 about it: residual mean square 6·1e-4/4
    got = scaling_curve(SIZES, VALUES)
    assert got.slope == pytest.approx(0.08)
    assert got.intercept == pytest.approx(0.65)
    assert got.slope_high - got.slope == pytest.approx(2.776445 * np.sqrt(1.5e-4 / 4), rel=1e-5)
    assert got.lack_of_fit_p == pytest.approx(1.0)


def test_the_band_as_statsmodels_has_it() -> None:
    values = VALUES + np.array([0.01, 0, -0.02, 0.01, 0.005, 0])
    model = sm.OLS(values, sm.add_constant(np.log10(SIZES))).fit()
    at = np.array([100.0, 500.0, 5e4])
    theirs = model.get_prediction(sm.add_constant(np.log10(at))).conf_int(alpha=0.1)
    fit, low, high = scaling_curve(SIZES, values, level=0.9).band(at)
    assert low == pytest.approx(theirs[:, 0])
    assert high == pytest.approx(theirs[:, 1])
    assert fit == pytest.approx(theirs.mean(axis=1))
    assert scaling_curve(SIZES, values).r_squared == pytest.approx(model.rsquared)


def test_a_bend_shows_as_lack_of_fit() -> None:
    bent = np.array([0.80, 0.81, 0.95, 0.96, 0.96, 0.97])
    assert scaling_curve(SIZES, bent).lack_of_fit_p < 0.01
    assert scaling_curve(SIZES[::2], bent[::2]).lack_of_fit_p is None


@pytest.mark.parametrize("sizes", [[10, 100], [10, 10, 10], [0, 10, 100]])
def test_what_has_no_line_is_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="three points"):
        scaling_curve(np.array(sizes), np.ones(len(sizes)))


def test_cost_counts_what_failed_before() -> None:
    trials = [(10.0, 0.95), (20.0, None), (30.0, 0.991), (40.0, 0.999)]
    assert cost_to_reach(trials, 0.99) == 60.0
    assert cost_to_reach(trials, 0.9) == 10.0
    assert cost_to_reach(trials, 1.0) is None
    assert cost_to_reach([], 0.5) is None
