"""Protocol B: one-day forecasts of an index's realised variance, every model from the 1,000 days before its day, scored on the test days.

Linear models are fitted every day, the GARCH family every 22 days with the state filtered daily, networks every 63 days with a warm start.
Called by research/cli.py; research/report.py scores what comes out.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from tandem.domain.errors import BadSetting
from tandem.quant.realised_gru import Rule
from tandem.quant.volatility import Kind
from tandem.research import spx_garch, spx_linear, spx_networks
from tandem.research.daily_table import DailyTable
from tandem.research.records import ProtocolResult
from tandem.research.spx_data import WINDOW_DAYS, RealisedDays, of_table
from tandem.research.spx_garch import RollingFits
from tandem.research.spx_networks import Readings
from tandem.research.spx_tails import LEVELS, ModelForecasts

SERIES = "spx"
BASELINE = "log_har"
SEEDS = 10
_BLOCK_DAYS = 10  # of the confidence set's bootstrap, as the reference table
_NESTED = {"log_har_leverage": BASELINE, "log_har_leverage_gjr": "log_har_leverage", "garch_gru": "log_har_leverage_gjr"}
_NOTES = (
    "garch_gru corrects the path log_har_leverage_gjr, which has a row of its own: the difference of the two is what the network adds.",
    "Hyperparameters were chosen on 2006-2013 of the SPX file; no test day took part in a fit, a stop or a choice.",
    "cpu_seconds of log_har_leverage_gjr and garch_gru hold no GJR fits beyond those that gjr_t had not made yet.",
)

Progress = Callable[[str, int, int], None]  # model, steps done, steps in all


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Timed:
    forecasts: ModelForecasts
    cpu_seconds: float


def run(
    table: DailyTable,
    *,
    test_from: np.datetime64,
    test_to: np.datetime64,
    seeds: int = SEEDS,
    seed: int = 0,
    progress: Progress | None = None,
) -> ProtocolResult:
    """All models on the test days of a table with `rv5` and `open_to_close` (research/spx_data.py: read_table).

    seeds: members of each ensemble, numbered from `seed` on. Same table and seeds: same forecasts. Raises BadSetting, BadRecord for a table
    or span that cannot be used, FitRejected when the returns admit no GARCH fit.
    """
    if seeds < 1:
        raise BadSetting(f"--seeds {seeds}, must be at least 1")
    data = of_table(table, test_from=test_from, test_to=test_to)
    members = tuple(range(seed, seed + seeds))
    found = _all_models(data, members, Rule(), progress or _silent)
    return _result(data, found, members, Rule())


def _all_models(data: RealisedDays, seeds: tuple[int, ...], rule: Rule, progress: Progress) -> dict[str, _Timed]:
    fits = {model: RollingFits(data, kind) for model, kind in spx_garch.MODELS.items()}
    gjr = next(fits[model] for model, kind in spx_garch.MODELS.items() if kind is Kind.GJR)
    readings = Readings(data, gjr)
    work: dict[str, Callable[[], ModelForecasts]] = {model: partial(spx_linear.forecasts, data, model) for model in spx_linear.LINEAR}
    work |= {model: partial(spx_garch.forecasts, data, fits[model]) for model in spx_garch.MODELS}
    work |= {model: partial(spx_networks.path_forecasts, readings, path) for model, path in spx_networks.PATHS.items()}
    network = partial(spx_networks.network_forecasts, readings, seeds=seeds, rule=rule)
    work |= {model: partial(network, path, on_refit=partial(progress, model)) for model, path in spx_networks.NETWORKS.items()}
    found = {}
    for model, forecast in work.items():
        progress(model, 0, 1)
        start = time.process_time()
        found[model] = _Timed(forecasts=forecast(), cpu_seconds=time.process_time() - start)
        progress(model, 1, 1)
    return found


def _result(data: RealisedDays, found: dict[str, _Timed], seeds: tuple[int, ...], rule: Rule) -> ProtocolResult:
    days = slice(data.first, data.last + 1)
    ensembles = tuple(spx_networks.NETWORKS)
    return ProtocolResult(
        protocol="spx",
        data_digest=data.digest,
        dates=tuple(str(day) for day in data.days[days]),
        realised={SERIES: data.realised[days]},
        forecasts={SERIES: {model: timed.forecasts.variances for model, timed in found.items()}},
        baseline=BASELINE,
        block=_BLOCK_DAYS,
        horizon=1,
        seeds=dict.fromkeys(ensembles, seeds),
        settings={
            "window_days": WINDOW_DAYS,
            "refit_days": {"linear": 1, "garch": spx_garch.REFIT_DAYS, "networks": spx_networks.REFIT_DAYS},
            "network": asdict(rule),
            "network_refits": len(spx_networks.refit_days(data)),
            "tail_levels": list(LEVELS),
            "unit": "percent squared",
        },
        cpu_seconds={model: timed.cpu_seconds for model, timed in found.items()},
        notes=_NOTES,
        members={SERIES: {model: found[model].forecasts.members for model in ensembles}},
        returns={SERIES: data.returns[days]},
        tails={SERIES: {model: timed.forecasts.tails for model, timed in found.items()}},
        nested=_NESTED,
    )


def _silent(model: str, done: int, count: int) -> None:
    """No progress is shown."""
