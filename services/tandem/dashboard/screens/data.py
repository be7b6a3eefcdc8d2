"""Data: the symbols in use, what was recorded of them, tick rates and gaps, what happened, the dead letter, and the recycler's controls."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

import streamlit as st

from tandem.adapters.config_files import SECTORS_FILE, Sectors, load_pairs, load_sectors
from tandem.adapters.deadletter import Letter
from tandem.dashboard import figures
from tandem.dashboard.questions import replay_status, symbols
from tandem.dashboard.replay import replay
from tandem.dashboard.snapshot import Snapshot
from tandem.dashboard.widgets import Row, nothing, section, table, usd, when
from tandem.domain.control import PairSpec
from tandem.domain.units import NS_PER_MS

_BARS_MAX = 1_000
_ROWS_MAX = 100
_PAYLOAD_CHARACTERS_MAX = 200


def data(snapshot: Snapshot) -> None:
    """Draw the page."""
    if snapshot.source == "recycled":
        snapshot.ahead(replay_status)
    snapshot.ahead(symbols, _rates, _closes, _newest_gaps, _newest_events, _newest_letters, _sectors, _declared)
    st.title("Data")
    if snapshot.source == "recycled":
        with section("Replay"):
            replay(snapshot)
    with section("Recorded bars"):
        _bars(snapshot)
    with section("Halts, corrections, price bands"):
        _events(snapshot)
    with section("Dead letter"):
        _letters(snapshot)
    with section("Symbols"):
        _symbols(snapshot)


def _bars(snapshot: Snapshot) -> None:
    stream, timeframe = snapshot.stream, snapshot.bar
    rows = symbols(snapshot)
    if not rows:
        nothing("No bars are recorded.", "The recorder writes one a symbol when the market's first bar has closed.")
        return
    st.plotly_chart(figures.tick_rates(_rates(snapshot), timeframe), key="tick-rates")
    closes = _closes(snapshot)
    columns = {
        "symbol": lambda row: row["symbol"],
        "bars": lambda row: row["bars"],
        "gaps": lambda row: len(closes) - bisect_left(closes, row["first_ns"]) - row["bars"],
        "from": lambda row: when(row["from_ns"]),
        "to": lambda row: when(row["to_ns"]),
        "trades": lambda row: int(row["trades"]),
        "in the newest bar": lambda row: row["trades_last"],
        "last price": lambda row: usd(row["close"]),
    }
    st.caption(f"Bars of {timeframe}, source {stream.source}. A gap is a bar that the symbol lacks while another symbol has it.")
    table(rows, columns)
    _gaps(snapshot)


def _gaps(snapshot: Snapshot) -> None:
    rows = _newest_gaps(snapshot)
    if not rows:
        st.success(f"No symbol lacks one of the newest {_BARS_MAX:,} bars.")
        return
    st.caption(f"The newest gaps, at most {_ROWS_MAX}")
    table(rows, {"bar that closes": lambda row: when(row["close_ns"]), "symbol": itemgetter("symbol")})


def _events(snapshot: Snapshot) -> None:
    rows = _newest_events(snapshot)
    if not rows:
        nothing("None was told.", "The recorder writes them down when the feed sends one.")
        return
    columns = {
        "time": lambda row: when(row["event_ns"]),
        "symbol": lambda row: row["symbol"],
        "what": lambda row: row["kind"],
        "price": lambda row: usd(row["price"]) if row["price"] else "",
        "what became of it": lambda row: row["outcome"].replace("_", " "),
    }
    table(rows, columns)


def _letters(snapshot: Snapshot) -> None:
    letters = _newest_letters(snapshot)
    if not letters:
        st.success("Empty: every record could be used.")
        return
    counts = Counter(letter.reason for letter in letters)
    st.markdown(
        f"**{len(letters)}** {'letters' if len(letters) > 1 else 'letter'}: "
        + ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    )
    rows = [
        {
            "parked": when(letter.parked_ms * NS_PER_MS),
            "by": letter.service,
            "from": letter.topic,
            "reason": letter.reason,
            "detail": letter.detail,
            "tried again": "yes" if letter.replayed else "",
            "offset": letter.offset,
            "begins with": repr(letter.payload[:_PAYLOAD_CHARACTERS_MAX])[2:-1],
        }
        for letter in letters[: -_ROWS_MAX - 1 : -1]
    ]
    table(rows, {name: itemgetter(name) for name in rows[0]})
    st.caption("`tandem deadletter` shows one in full and gives those a second try whose cause is gone.")


def _symbols(snapshot: Snapshot) -> None:
    sectors, declared = _sectors(snapshot), _declared(snapshot)
    rows = [
        {
            "sector": sector,
            "active": "yes" if sector in sectors.active else "no",
            "in use": " ".join(used := sectors.active_symbols(sector)),
            "not in use": " ".join(symbol for symbol in listed if symbol not in used),
            "pairs of the configuration": " ".join(pair.pair for pair in declared if pair.sector == sector),
        }
        for sector, listed in sectors.sectors.items()
    ]
    in_use = sum(len(sectors.active_symbols(sector)) for sector in sectors.active)
    st.markdown(f"**{in_use}** symbols in use, preset **{sectors.preset}**, of `{snapshot.sources.settings.config_dir / SECTORS_FILE}`")
    table(rows, {name: itemgetter(name) for name in rows[0]})
    st.caption("`tandem symbols` and `tandem sectors` change them.")


def _rates(snapshot: Snapshot) -> Sequence[Row]:
    return snapshot.ask("tick rates", lambda sources: sources.views.tick_rates(snapshot.stream, timeframe=snapshot.bar, bars=_BARS_MAX))


def _closes(snapshot: Snapshot) -> Sequence[int]:
    return snapshot.ask("closes", lambda sources: sources.views.closes(snapshot.stream, timeframe=snapshot.bar))


def _newest_gaps(snapshot: Snapshot) -> Sequence[Row]:
    return snapshot.ask(
        "gaps", lambda sources: sources.views.gaps(snapshot.stream, timeframe=snapshot.bar, bars=_BARS_MAX, limit=_ROWS_MAX)
    )


def _newest_events(snapshot: Snapshot) -> Sequence[Row]:
    return snapshot.ask("market events", lambda sources: sources.views.market_events(snapshot.stream, limit=_ROWS_MAX))


def _newest_letters(snapshot: Snapshot) -> Sequence[Letter]:
    return snapshot.ask("letters", lambda sources: sources.letters())


def _sectors(snapshot: Snapshot) -> Sectors:
    return snapshot.ask("sectors file", lambda sources: load_sectors(sources.settings.config_dir))


def _declared(snapshot: Snapshot) -> Sequence[PairSpec]:
    return snapshot.ask("pairs file", lambda sources: load_pairs(sources.settings.config_dir))
