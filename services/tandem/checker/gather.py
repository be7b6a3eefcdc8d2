"""Collects the evidence of one run from the places that it is told of. Called by cli/verify_run.py and by the chaos runs."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tandem.adapters.calendar import bar_ns, session_grid
from tandem.adapters.synthetic_twin import LABEL, Twin
from tandem.adapters.tick_store import StoreOptions, open_store
from tandem.checker.evidence import Evidence, Ledger, Recording
from tandem.checker.exchange_log import read_exchange_log
from tandem.checker.ledger_rows import read_ledger
from tandem.checker.topics import declared_pairs, newest_replay, read_forecasts, read_ticks
from tandem.domain.control import PairSpec
from tandem.domain.errors import BadSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a run left its traces. What is empty is not looked at."""

    kafka: str = ""
    postgres_url: str = ""
    exchange_log: Path | None = None
    data: tuple[Path, ...] = ()  # files of the recording, as the recycler was told
    from_ns: int | None = None  # of the replay, as the recycler was told
    to_ns: int | None = None
    twins: tuple[Twin, ...] = ()  # made-up symbols, as the recycler was told: made again here, as no file holds them
    session_only: bool = False  # as the recycler was told
    book: str = ""  # the newest when empty
    replay_id: str = ""  # that of the exchange's log when empty, else the newest in Kafka
    pairs: tuple[PairSpec, ...] = ()  # those of the control topic when empty
    injected: frozenset[bytes] = frozenset()  # records that somebody put into the topics on purpose: not read
    ended: bool = True
    unhedged_s_max: float = 60.0
    bar: str = ""  # of the portfolio; shorter than a day, decisions are held against the exchange's sessions
    close_cutoff_s: float = 0.0  # this and the next two: of the portfolio's risk.yaml
    resume_wait_s: float = 0.0
    session_end: str = "keep"


def gather(places: Places) -> Evidence:
    """Everything that can be read. Raises Transient when a server is away, Permanent when something named is not there."""
    exchange = None if places.exchange_log is None else read_exchange_log(places.exchange_log, places.replay_id)
    pairs = places.pairs or (declared_pairs(places.kafka) if places.kafka else ())
    sectors = sorted({str(pair.sector) for pair in pairs})
    replay_id = places.replay_id or (exchange.lines[-1].replay_id if exchange is not None and exchange.lines else "")
    if not replay_id and places.kafka:
        replay_id = newest_replay(places.kafka, sectors)
    ledger = read_ledger(places.postgres_url, places.book) if places.postgres_url else None
    return Evidence(
        replay_id=replay_id,
        pairs=pairs,
        sectors=read_ticks(places.kafka, sectors, replay_id, places.injected) if places.kafka else None,
        recording=_recording(places, pairs),
        forecasts=read_forecasts(places.kafka, replay_id, places.injected) if places.kafka else None,
        ledger=ledger,
        exchange=exchange,
        ended=places.ended,
        unhedged_s_max=places.unhedged_s_max,
        sessions=_sessions(places, ledger),
        close_cutoff_s=places.close_cutoff_s,
        resume_wait_s=places.resume_wait_s,
        session_end=places.session_end,
    )


def _sessions(places: Places, ledger: Ledger | None) -> tuple[tuple[int, int], ...] | None:
    """Of everything that the ledger has decided; None where there is nothing to hold against them."""
    if places.bar in ("", "1d") or ledger is None:
        return None
    decided = [intent.bar_close_ns for intent in ledger.intents]
    if not decided:
        return ()
    grid = session_grid(places.bar, min(decided), max(decided))
    return tuple(zip(grid.open_ns.tolist(), grid.close_ns.tolist(), strict=True))


def _recording(places: Places, pairs: tuple[PairSpec, ...]) -> Recording | None:
    """The legs' ticks of the span. A file is read piece by piece: what is not asked for needs no memory, however large it is."""
    if not places.data:
        return None
    legs, made_up = {leg for pair in pairs for leg in (pair.leg_a, pair.leg_b)}, {twin.name for twin in places.twins}
    if unknown := sorted(leg for leg in legs - made_up if leg.endswith(LABEL)):
        told = f"--twin SYMBOL={unknown[0]}, as the recycler was told"
        raise BadSetting(f"{', '.join(unknown)}: a made-up symbol is in no recording; say what it follows with {told}")
    if places.twins and not places.bar:
        raise BadSetting("--twin: a twin follows its symbol over bars of a length; give it with --bar, as the recycler was told")
    recorded = sorted((legs - made_up) | {twin.base for twin in places.twins})
    options = StoreOptions(symbols=tuple(recorded), session_only=places.session_only, twins=places.twins)
    store = open_store(places.data, replace(options, bar_ns=bar_ns(places.bar)) if places.twins else options)
    start = 0 if places.from_ns is None else int(np.searchsorted(store.event_ns, places.from_ns))
    stop = len(store.event_ns) if places.to_ns is None else int(np.searchsorted(store.event_ns, places.to_ns))
    return Recording(symbols=tuple(store.data.symbols), ticks=np.array(store.data.ticks[start:stop]))
