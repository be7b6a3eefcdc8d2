"""Protocol B's baselines on the Oxford-Man SPX file, 2014-2017, 1,007 days: the reference table, made without this code.

Table of the project's model reference (QLIKE, MSE, MAE, R2), tolerance half of its last digit and a little for the optimiser of the GARCH
family. The networks' rows are no reference numbers; docs/volatility-spx.md has them.
"""

import numpy as np
import pytest

from recorded_cases import shared_data
from tandem.quant import scores
from tandem.research import spx_garch, spx_linear
from tandem.research.spx_data import RealisedDays, of_table, read_table

TABLE = {
    "random_walk": (0.2875, 2.386, 0.2921, -0.328),
    "ewma": (0.3475, 1.624, 0.3249, 0.096),
    "har": (0.3506, 1.602, 0.2987, 0.108),
    "log_har": (0.2426, 1.525, 0.2495, 0.151),
    "garch_t": (0.3261, 1.532, 0.3301, 0.147),
    "gjr_t": (0.3095, 1.349, 0.3290, 0.249),
    "egarch_t": (0.3343, 1.360, 0.3355, 0.243),
}
TOLERANCE = (6e-5, 6e-4, 6e-5, 6e-4)


@pytest.fixture(scope="module")
def data() -> RealisedDays:
    table = read_table(shared_data("realized_measures_spx_2000_2017.parquet"))
    return of_table(table, test_from=np.datetime64("2014-01-01"), test_to=np.datetime64("2017-12-31"))


@pytest.mark.parametrize("model", TABLE)
def test_a_baseline_scores_what_the_reference_table_says(data: RealisedDays, model: str) -> None:
    if model in spx_linear.LINEAR:
        forecast = spx_linear.forecasts(data, model).variances
    else:
        forecast = spx_garch.forecasts(data, spx_garch.RollingFits(data, spx_garch.MODELS[model])).variances
    realised = data.realised[data.first :]
    errors = realised - forecast

    found = (
        scores.qlike(realised, forecast).mean(),
        np.mean(errors**2),
        np.abs(errors).mean(),
        1 - np.mean(errors**2) / realised.var(),
    )

    assert len(realised) == 1_007
    for value, expected, tolerance in zip(found, TABLE[model], TOLERANCE, strict=True):
        assert value == pytest.approx(expected, abs=tolerance)
