"""The paired losses of two versions from Postgres: the rows of forecast_scores in which both forecast the same bar of the same pair.

What promotion.py judges; called by whoever carries rollouts out. A bar counts once, however often a recording was replayed: the same prices
seen again are no new evidence, and only rows of one and the same replay are paired.
"""

from dataclasses import replace

import numpy as np
import psycopg2

from tandem.adapters.bar_store import failure
from tandem.adapters.postgres import connect, place
from tandem.adapters.topics import ticks
from tandem.domain.ids import PairId
from tandem.rollout.paired import PairedLosses, no_losses
from tandem.rollout.state import RolloutState

_ROWS_MAX = 1_000_000  # 25 pairs for 100 sessions of minutes; a rollout is decided long before, and the oldest rows are the ones that count
_QUERY = """
SELECT DISTINCT ON (stable.bar_close_ns, stable.pair)
       stable.bar_close_ns, stable.pair, stable.qlike, candidate.qlike, ln(candidate.variance) - ln(stable.variance),
       stable.realised, candidate.realised,
       (to_timestamp(stable.bar_close_ns / 1e9) AT TIME ZONE 'America/New_York')::date - DATE '1970-01-01'
FROM forecast_scores AS stable
JOIN forecast_scores AS candidate USING (sector, pair, source, replay_id, bar_close_ns)
WHERE sector = %(sector)s AND source = %(source)s AND bar_close_ns > %(after_ns)s
  AND stable.model_name = %(stable_name)s AND stable.model_version = %(stable_version)s AND stable.model_digest = %(stable_digest)s
  AND candidate.model_name = %(candidate_name)s AND candidate.model_version = %(candidate_version)s
  AND candidate.model_digest = %(candidate_digest)s
ORDER BY stable.bar_close_ns, stable.pair, (stable.qlike IS NULL OR candidate.qlike IS NULL), replay_id
LIMIT %(rows_max)s
"""
# Written by the recorder together with the rows above, so that it is never behind them but where a recording has begun again.
_MARKET = "SELECT max(watermark_ns) FROM consumer_positions WHERE topic = %(topic)s AND source = %(source)s"


def read_losses(url: str, source: str, state: RolloutState) -> PairedLosses:
    """All bars that count for a rollout, which close after its evidence_from_ns, and how far the market is. Raises Transient.

    source: live, paper or recycled.
    """
    if state.stable is None:
        return no_losses()
    values = {
        "sector": state.sector,
        "source": source,
        "topic": ticks(state.sector),
        "after_ns": state.evidence_from_ns,
        "stable_name": state.stable.name,
        "stable_version": state.stable.version,
        "stable_digest": state.stable.digest,
        "candidate_name": state.candidate.name,
        "candidate_version": state.candidate.version,
        "candidate_digest": state.candidate.digest,
        "rows_max": _ROWS_MAX,
    }
    connection = connect(url, application="tandem-rollouts")
    try:
        with connection.cursor() as cursor:
            cursor.execute(_QUERY, values)
            rows = cursor.fetchall()
            cursor.execute(_MARKET, values)
            market_ns = (cursor.fetchone() or (None,))[0]
    except psycopg2.Error as error:
        raise failure(f"cannot read forecast scores from {place(url)}", error) from error
    finally:
        connection.close()
    return replace(_losses(rows), market_ns=market_ns or 0)


def _losses(rows: list[tuple[int, str, float | None, float | None, float, float | None, float | None, int]]) -> PairedLosses:
    if not rows:
        return no_losses()
    closes, names, stable, candidate, ratios, realised_stable, realised_candidate, days = zip(*rows, strict=True)
    close_ns, first, row = np.unique(np.array(closes, dtype=np.int64), return_index=True, return_inverse=True)
    pairs, column = np.unique(np.array(names), return_inverse=True)

    def table(values: tuple[float | None, ...]) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
        filled = np.full((len(close_ns), len(pairs)), np.nan)
        filled[row, column] = np.array(values, dtype=np.float64)  # None becomes NaN
        return filled

    return PairedLosses(
        close_ns=close_ns,
        sessions=np.array(days, dtype=np.int64)[first],
        pairs=tuple(map(PairId, pairs.tolist())),
        stable=table(stable),
        candidate=table(candidate),
        log_variance_ratio=table(ratios),
        realised_stable=table(realised_stable),
        realised_candidate=table(realised_candidate),
    )
