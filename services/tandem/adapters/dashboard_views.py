"""What the dashboard shows of the database: read-only queries, enforced by the connection, one short transaction each."""

from dataclasses import asdict, dataclass
from typing import Any

from psycopg2.extras import RealDictCursor

from tandem.adapters.postgres import connect
from tandem.adapters.postgres_ledger import failures

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Whose market data: recycled ones are of one replay."""

    source: str
    replay_id: str


class DashboardViews:
    """Queries over the book and the market tables."""

    def __init__(self, url: str) -> None:
        self._url = url

    def newest_run(self, book: str) -> str:
        """What the book's newest bar was decided in: the replay's id, on live feeds the broker's account; empty before the first bar."""
        rows = self._rows("SELECT run FROM stream_positions WHERE book = %(book)s ORDER BY decided_ns DESC LIMIT 1", book=book)
        return rows[0]["run"] if rows else ""

    def equity(self, book: str, *, points_max: int) -> list[Row]:
        """The equity curve of the book's newest run, thinned evenly to at most points_max, its last point kept; oldest first."""
        query = """
            WITH newest AS (SELECT run FROM equity_curve WHERE book = %(book)s ORDER BY bar_close_ns DESC LIMIT 1),
            numbered AS (
                SELECT bar_close_ns, equity_usd, cash_usd, gross_usd, open_pairs,
                       row_number() OVER (ORDER BY bar_close_ns DESC) - 1 AS back, count(*) OVER () AS rows
                FROM equity_curve JOIN newest USING (run) WHERE book = %(book)s)
            SELECT bar_close_ns, equity_usd, cash_usd, gross_usd, open_pairs FROM numbered
            WHERE back %% greatest(1, ceil(rows::numeric / %(points)s)::bigint) = 0 ORDER BY bar_close_ns"""
        return self._rows(query, book=book, points=points_max)

    def spread(self, pair: str, *, stream: Stream, digest: str, bars: int) -> list[Row]:
        """The newest forecasts of a pair by one model version with what then happened, oldest first."""
        query = """
            SELECT * FROM (
                SELECT bar_close_ns, next_close_ns, price_a, price_b, beta, mu, spread, expected_spread, z, variance, garch_variance,
                       realised, qlike, garch_qlike, reversion_probability, half_life_bars
                FROM forecast_scores
                WHERE pair = %(pair)s AND source = %(source)s AND replay_id = %(replay_id)s AND model_digest = %(digest)s
                ORDER BY bar_close_ns DESC LIMIT %(bars)s) AS newest
            ORDER BY bar_close_ns"""
        return self._rows(query, pair=pair, digest=digest, bars=bars, **asdict(stream))

    def trades(self, book: str, *, pair: str = "", limit: int) -> list[Row]:
        """Round trips, newest first."""
        query = """
            SELECT trade_id, pair, sector, direction, model_version, opened_ns, hedged_ns, closed_ns, entry_z, exit_z, exit_reason,
                   greatest(unhedged_open_s, unhedged_close_s) AS unhedged_s, pnl_usd
            FROM pair_trades WHERE book = %(book)s AND (%(pair)s = '' OR pair = %(pair)s) ORDER BY opened_ns DESC LIMIT %(limit)s"""
        return self._rows(query, book=book, pair=pair, limit=limit)

    def risk_events(self, book: str, *, limit: int) -> list[Row]:
        """What the portfolio warned of, newest first."""
        query = "SELECT event_ns, scope, code, detail FROM risk_events WHERE book = %(book)s ORDER BY seq DESC LIMIT %(limit)s"
        return self._rows(query, book=book, limit=limit)

    def losses(self, sector: str, *, stream: Stream, sessions: int) -> list[Row]:
        """Mean QLIKE of each version of a sector by session in New York, over the newest sessions; oldest first."""
        query = """
            SELECT * FROM (
                SELECT (to_timestamp(next_close_ns / 1e9) AT TIME ZONE 'America/New_York')::date AS session_day, model_version,
                       avg(qlike) AS qlike, avg(garch_qlike) AS garch_qlike, count(*) AS forecasts
                FROM forecast_scores
                WHERE sector = %(sector)s AND source = %(source)s AND replay_id = %(replay_id)s AND next_close_ns IS NOT NULL
                GROUP BY 1, 2 ORDER BY 1 DESC LIMIT %(sessions)s) AS newest
            ORDER BY session_day, model_version"""
        return self._rows(query, sector=sector, sessions=sessions, **asdict(stream))

    def calibration(self, sector: str, *, stream: Stream, bins: int) -> list[Row]:
        """Forecast standard deviation against the realised one, in bins of equal size of the forecast; one row a bin and version."""
        query = """
            SELECT model_version, bin, sqrt(avg(variance)) AS forecast_sd, sqrt(avg(realised)) AS realised_sd, count(*) AS forecasts
            FROM (SELECT model_version, variance, realised, ntile(%(bins)s) OVER (PARTITION BY model_version ORDER BY variance) AS bin
                  FROM forecast_scores WHERE sector = %(sector)s AND source = %(source)s AND replay_id = %(replay_id)s
                      AND realised IS NOT NULL) AS cut
            GROUP BY 1, 2 ORDER BY 1, 2"""
        return self._rows(query, sector=sector, bins=bins, **asdict(stream))

    def sectors(self, stream: Stream) -> list[str]:
        """Sectors of which forecasts were recorded."""
        query = "SELECT DISTINCT sector FROM forecast_scores WHERE source = %(source)s AND replay_id = %(replay_id)s ORDER BY sector"
        return [row["sector"] for row in self._rows(query, **asdict(stream))]

    def symbols(self, stream: Stream, *, timeframe: str) -> list[Row]:
        """Each symbol's bars: how many, of which span, trades in all and in the newest bar."""
        query = """
            SELECT symbol, count(*) AS bars, min(open_ns) AS from_ns, min(close_ns) AS first_ns, max(close_ns) AS to_ns,
                   sum(trades) AS trades, (array_agg(close ORDER BY close_ns DESC))[1] AS close,
                   (array_agg(trades ORDER BY close_ns DESC))[1] AS trades_last
            FROM bars WHERE source = %(source)s AND replay_id = %(replay_id)s AND timeframe = %(timeframe)s
            GROUP BY symbol ORDER BY symbol"""
        return self._rows(query, timeframe=timeframe, **asdict(stream))

    def closes(self, stream: Stream, *, timeframe: str) -> list[int]:
        """Closes of all bars, each once, ascending: what a symbol's gaps are counted against."""
        query = """
            SELECT DISTINCT close_ns FROM bars
            WHERE source = %(source)s AND replay_id = %(replay_id)s AND timeframe = %(timeframe)s ORDER BY close_ns"""
        return [row["close_ns"] for row in self._rows(query, timeframe=timeframe, **asdict(stream))]

    def tick_rates(self, stream: Stream, *, timeframe: str, bars: int) -> list[Row]:
        """Trades of all symbols in each of the newest bars, and how many symbols traded; oldest first."""
        query = """
            SELECT * FROM (
                SELECT close_ns, sum(trades) AS trades, count(*) AS symbols FROM bars
                WHERE source = %(source)s AND replay_id = %(replay_id)s AND timeframe = %(timeframe)s
                GROUP BY close_ns ORDER BY close_ns DESC LIMIT %(bars)s) AS newest
            ORDER BY close_ns"""
        return self._rows(query, timeframe=timeframe, bars=bars, **asdict(stream))

    def gaps(self, stream: Stream, *, timeframe: str, bars: int, limit: int) -> list[Row]:
        """Bars that a symbol lacks since its first one while another symbol has them, among the newest bars; newest first."""
        query = """
            WITH mine AS (SELECT symbol, close_ns FROM bars
                          WHERE source = %(source)s AND replay_id = %(replay_id)s AND timeframe = %(timeframe)s),
            closes AS (SELECT DISTINCT close_ns FROM mine ORDER BY close_ns DESC LIMIT %(bars)s),
            spans AS (SELECT symbol, min(close_ns) AS first_ns FROM mine GROUP BY symbol)
            SELECT symbol, close_ns FROM closes JOIN spans ON close_ns >= first_ns
            EXCEPT SELECT symbol, close_ns FROM mine ORDER BY close_ns DESC, symbol LIMIT %(limit)s"""
        return self._rows(query, timeframe=timeframe, bars=bars, limit=limit, **asdict(stream))

    def market_events(self, stream: Stream, *, limit: int) -> list[Row]:
        """Corrections, cancels, halts and price bands as they came, newest first."""
        query = """
            SELECT event_ns, symbol, kind, price, size, flags, outcome FROM market_events
            WHERE source = %(source)s AND replay_id = %(replay_id)s ORDER BY event_ns DESC, symbol, kind LIMIT %(limit)s"""
        return self._rows(query, limit=limit, **asdict(stream))

    def bars(self, symbol: str, *, stream: Stream, timeframe: str, limit: int) -> list[Row]:
        """The newest bars of a symbol, oldest first."""
        query = """
            SELECT * FROM (
                SELECT close_ns, open, high, low, close, volume, trades FROM bars
                WHERE symbol = %(symbol)s AND source = %(source)s AND replay_id = %(replay_id)s AND timeframe = %(timeframe)s
                ORDER BY close_ns DESC LIMIT %(limit)s) AS newest
            ORDER BY close_ns"""
        return self._rows(query, symbol=symbol, timeframe=timeframe, limit=limit, **asdict(stream))

    def _rows(self, query: str, **values: Any) -> list[Row]:
        with failures("PostgreSQL"):
            connection = connect(self._url, application="tandem-dashboard")
            try:
                connection.set_session(readonly=True)
                with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
                    cursor.execute(query, values)
                    return [dict(row) for row in cursor.fetchall()]
            finally:
                connection.close()
