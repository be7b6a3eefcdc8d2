"""What was trained, how steady its data were, and how versions rank and move: the tables of migration 0003, written and read.

Every write is idempotent: the same run twice leaves the same rows. Rankings and trends are computed by the server from what the recorder
and the portfolio wrote, for one day as a whole. Called by trainer/diagnostics.py, trainer/rebaseline.py and cli/models.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import psycopg2
from numpy.typing import NDArray
from psycopg2 import extensions
from psycopg2.extras import Json, RealDictCursor

from tandem.adapters import model_queries
from tandem.adapters.bar_store import failure, insert_rows
from tandem.adapters.postgres import connect, place
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId
from tandem.domain.units import utc
from tandem.quant.bundle import Bundle, PairModel, model_name
from tandem.quant.stability import ARCH_LAGS, WINDOW, Features, Stability

Row = dict[str, Any]
FEATURE_ROWS_MAX = 25_000  # the newest of a series that are stored: a century of days, or 64 sessions of minutes
RANKED_SESSIONS = 30
RANKED_BARS_MIN = 20  # below, one wild bar makes or breaks a ratio
_TREND_SESSIONS = 30
_TREND_TOLERANCE = 0.02  # two ratios that are closer are called steady
_NEW_YORK = ZoneInfo("America/New_York")
_SCORES = {  # column: the bundle's metric
    "qlike": "holdout_qlike_hybrid",
    "garch_qlike": "holdout_qlike_garch",
    "dm_statistic": "holdout_dm_statistic",
    "dm_p_value": "holdout_dm_p_value",
    "brier": "holdout_brier",
    "brier_base_rate": "holdout_brier_base_rate",
    "mcc": "holdout_mcc_above_base_rate",
    "auc": "holdout_auc",
    "f1": "holdout_f1_above_base_rate",
    "f1_always_1": "holdout_f1_always_1",
}
_FEATURE_COLUMNS = (
    *("subject", "timeframe", "source", "origin", "model_digest", "close_ns", "level", "change", "z_score", "rolling_mean", "rolling_sd"),
    *("volatility_annualised", "window_bars"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOrigin:
    """Where data came from: never mixed with those of another origin."""

    timeframe: str
    source: str  # live, paper, recycled, or file
    origin: str = ""  # replay id, sha256 of the file; "" for live and paper


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosed:
    """One series of a training span with its diagnostics."""

    subject: str  # symbol or pair
    series: str  # log_return, spread_innovation or standardised_innovation
    from_ns: int
    to_ns: int
    stability: Stability
    volatility_annualised: float | None


class ModelHistory:
    """One database. Each call is one transaction on a connection of its own. Raises Transient when the server is away."""

    def __init__(self, url: str) -> None:
        self._url = url

    def record_training(self, bundle: Bundle, ref: ModelRef | None, *, data: DataOrigin, run_id: str = "") -> int:
        """A row for the sector's model and one for each pair; returns those that were new. ref: None when it was not registered."""
        ref = ref or ModelRef(name=model_name(bundle.sector), version="", digest=bundle.digest)
        common = {
            "sector": bundle.sector,
            "timeframe": data.timeframe,
            "source": data.source,
            "origin": data.origin,
            "model_name": ref.name,
            "model_version": ref.version,
            "model_digest": ref.digest,
            "run_id": run_id,
            "trained_from_ns": bundle.trained_from_ns,
            "trained_to_ns": bundle.trained_to_ns,
            "holdout_from_ns": bundle.holdout_from_ns,
            "data_digest": bundle.data_digest,
            "seed": bundle.seed,
            "trial": bundle.trial,
            "trials": bundle.trials,
            "horizon_bars": bundle.horizon_bars,
            "cost_bps": bundle.cost_bps,
            "hyperparameters": Json(bundle.settings),
        }
        rows = [common | {"pair": "", "metrics": Json(bundle.metrics)} | {c: bundle.metrics.get(m) for c, m in _SCORES.items()}]
        rows += [common | dict.fromkeys(_SCORES) | {"pair": p.pair, "metrics": Json(_fitted(p))} for p in bundle.pairs]
        names = ", ".join(rows[0])
        values = ", ".join(f"%({name})s" for name in rows[0])
        with self._transaction() as cursor:
            added = 0
            for row in rows:
                cursor.execute(f"INSERT INTO model_performance ({names}) VALUES ({values}) ON CONFLICT DO NOTHING", row)  # noqa: S608 our own names
                added += cursor.rowcount
            return added

    def record_features(
        self, subject: str, close_ns: NDArray[np.int64], features: Features, *, data: DataOrigin, model_digest: str = ""
    ) -> int:
        """The newest FEATURE_ROWS_MAX rows of a series whose bars close at close_ns (n,); returns those that were new."""
        newest = slice(-FEATURE_ROWS_MAX, None)
        tables = (
            *(features.level, features.change, features.z_score, features.rolling_mean, features.rolling_sd),
            features.volatility_annualised,
        )
        columns = [[None if np.isnan(x) else x for x in table[newest].tolist()] for table in tables]
        key = (subject, data.timeframe, data.source, data.origin, model_digest)
        rows = ((*key, ns, *values, WINDOW) for ns, *values in zip(close_ns[newest].tolist(), *columns, strict=True))
        with self._transaction() as cursor:
            return insert_rows(cursor, "market_data_features", _FEATURE_COLUMNS, rows, on_conflict="DO NOTHING")

    def record_stability(self, found: Sequence[Diagnosed], sector: SectorId, ref: ModelRef, *, data: DataOrigin) -> int:
        """Diagnostics of a version's training span; returns the rows that were new."""
        with self._transaction() as cursor:
            added = 0
            for one in found:
                row = _stability_row(one) | {
                    "timeframe": data.timeframe,
                    "source": data.source,
                    "origin": data.origin,
                    "model_digest": ref.digest,
                    "sector": sector,
                    "model_name": ref.name,
                    "model_version": ref.version,
                }
                names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
                cursor.execute(f"INSERT INTO variance_stability_tracking ({names}) VALUES ({values}) ON CONFLICT DO NOTHING", row)  # noqa: S608
                added += cursor.rowcount
            return added

    def refresh_rankings(self, as_of_ns: int, *, sessions: int = RANKED_SESSIONS, bars_min: int = RANKED_BARS_MIN) -> int:
        """Rank every version and pair by its last sessions as of this time, instead of what that day had before. Returns the rows."""
        values = {"as_of_ns": as_of_ns, "sessions": sessions, "bars_min": bars_min}
        with self._refresh("model_rankings", "ranking_day", values) as cursor:
            cursor.execute(model_queries.HORIZONS)
            for (horizon,) in cursor.fetchall():  # a window's frame has one length for the whole statement
                cursor.execute(model_queries.LABELS, values | {"horizon": horizon})
            cursor.execute(model_queries.REFRESH_RANKINGS, values | {"day": _day(as_of_ns)})
            return int(cursor.rowcount)

    def refresh_trends(self, as_of_ns: int) -> int:
        """The last 7 sessions against the last 30, as of this time, instead of what that day had before. Returns the rows."""
        values = {"as_of_ns": as_of_ns, "sessions": _TREND_SESSIONS, "tolerance": _TREND_TOLERANCE}
        with self._refresh("model_trends", "trend_day", values) as cursor:
            cursor.execute(model_queries.REFRESH_TRENDS, values | {"day": _day(as_of_ns)})
            return int(cursor.rowcount)

    def rankings(self, *, sector: str = "", day: date | None = None) -> list[Row]:
        """The ranking of a day, the newest by default, best first within timeframe, source and replay."""
        return self._read(
            "SELECT * FROM model_rankings WHERE ranking_day = coalesce(%(day)s, (SELECT max(ranking_day) FROM model_rankings)) "
            "AND (%(sector)s = '' OR sector = %(sector)s) ORDER BY source, replay_id, timeframe, rank_position, pair, model_version",
            {"sector": sector, "day": day},
        )

    def trends(self, *, sector: str = "", day: date | None = None) -> list[Row]:
        """The trends of a day, the newest by default."""
        return self._read(
            "SELECT * FROM model_trends WHERE trend_day = coalesce(%(day)s, (SELECT max(trend_day) FROM model_trends)) "
            "AND (%(sector)s = '' OR sector = %(sector)s) ORDER BY source, replay_id, timeframe, sector, pair, model_version",
            {"sector": sector, "day": day},
        )

    def history(self, *, sector: str = "", pair: str = "", limit: int = 100) -> list[Row]:
        """Trainings, newest first: of sectors' models, or of a pair in them."""
        return self._read(
            "SELECT * FROM model_performance WHERE pair = %(pair)s AND (%(sector)s = '' OR sector = %(sector)s) "
            "ORDER BY trained_to_ns DESC, recorded_at DESC, sector, model_version LIMIT %(limit)s",
            {"sector": sector, "pair": pair, "limit": limit},
        )

    def stability(self, *, sector: str = "", limit: int = 500) -> list[Row]:
        """Diagnostics of the newest training of each series and origin."""
        return self._read(
            "SELECT * FROM (SELECT DISTINCT ON (subject, series, timeframe, source, origin, sector) * FROM variance_stability_tracking "
            "WHERE %(sector)s = '' OR sector = %(sector)s "
            "ORDER BY subject, series, timeframe, source, origin, sector, to_ns DESC, recorded_at DESC) AS newest "
            "ORDER BY sector, series, subject LIMIT %(limit)s",
            {"sector": sector, "limit": limit},
        )

    def recent_losses(
        self, ref: ModelRef, *, source: str, replay_id: str, as_of_ns: int, bars: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """QLIKE of a version and of its GARCH, mean over the pairs at each of its last `bars` times (n <= bars), oldest first."""
        row = {"name": ref.name, "version": ref.version, "digest": ref.digest}
        span = {"source": source, "replay_id": replay_id, "as_of_ns": as_of_ns, "bars": bars}
        with self._transaction() as cursor:
            cursor.execute(model_queries.RECENT_LOSSES, row | span)
            table = np.array(cursor.fetchall()[::-1], dtype=np.float64).reshape(-1, 3)
        return table[:, 1], table[:, 2]

    @contextmanager
    def _refresh(self, table: str, day_column: str, values: Mapping[str, Any]) -> Iterator[extensions.cursor]:
        """A transaction in which the day's rows are gone and the temporary tables of model_queries are made."""
        with self._transaction() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")  # two refreshes of a day: one after the other
            cursor.execute(f"DELETE FROM {table} WHERE {day_column} = %s", (_day(values["as_of_ns"]),))  # noqa: S608 our own names
            cursor.execute(model_queries.RECENT_SESSIONS, values)
            yield cursor

    def _read(self, query: str, values: Mapping[str, Any]) -> list[Row]:
        with self._transaction(RealDictCursor) as cursor:
            cursor.execute(query, values)
            return [dict(row) for row in cursor.fetchall()]

    @contextmanager
    def _transaction(self, cursor_factory: type[extensions.cursor] = extensions.cursor) -> Iterator[extensions.cursor]:
        connection = connect(self._url, application="tandem-models")
        try:
            with connection, connection.cursor(cursor_factory=cursor_factory) as cursor:
                yield cursor
        except psycopg2.Error as error:
            raise failure(f"model history at {place(self._url)}", error) from error
        finally:
            connection.close()


def _day(ns: int) -> date:
    return utc(ns).astimezone(_NEW_YORK).date()


def _fitted(pair: PairModel) -> dict[str, Any]:
    """A pair's fitted numbers, as they go into `metrics`."""
    volatility = pair.volatility
    return {
        "beta": pair.beta,
        "mu": pair.mu,
        "phi": pair.phi,
        "spread_sd": pair.spread_sd,
        "half_life_bars": pair.half_life_bars,
        "volatility_kind": str(volatility.kind),
        "volatility_shocks": str(volatility.shocks),
        "volatility_persistence": volatility.persistence,
        "bars": pair.start.bars,
    }


def _stability_row(one: Diagnosed) -> dict[str, Any]:
    found = one.stability
    return {
        "subject": one.subject,
        "series": one.series,
        "from_ns": one.from_ns,
        "to_ns": one.to_ns,
        "record_count": found.count,
        "verdict": str(found.verdict),
        "findings": [str(name) for name in found.findings],
        "reason": found.reason,
        "arch_lags": ARCH_LAGS,
        "arch_statistic": found.arch_statistic,
        "arch_p_value": found.arch_p_value,
        "sigma_window_bars": WINDOW,
        "rolling_sigma_cv": found.sigma_cv,
        "ljung_box_p_values": list(found.ljung_box_p_values),
        "ljung_box_p_min": found.ljung_box_p_min,
        "volatility_annualised": one.volatility_annualised,
    }
