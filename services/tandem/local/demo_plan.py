"""What a demo will do with a data file: which span it trains on, which it replays, and which sectors and pairs the file can serve.

Decides only; local/demo.py acts. The split is by time, training strictly before the replay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np

from tandem.adapters.calendar import session_grid
from tandem.adapters.config_files import Sectors
from tandem.adapters.market_file import MarketData
from tandem.domain.control import PairSpec
from tandem.domain.errors import BadSetting
from tandem.domain.ids import PairId, SectorId, Symbol, pair_id, pair_legs
from tandem.domain.units import ns_of, rfc3339

NEW_YORK = ZoneInfo("America/New_York")
TRAIN_SHARE = 0.6  # of the sessions, where no date is given: three days train on one and replay two, a half year trains on four months
OTHER_SECTOR = SectorId("other")  # for pairs asked for by --pair whose symbols no sector lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Half-open spans of event time, ns: [train_from, train_to) and [replay_from, replay_to), train_to <= replay_from."""

    train_from_ns: int
    train_to_ns: int
    replay_from_ns: int
    replay_to_ns: int

    def __post_init__(self) -> None:
        if not self.train_from_ns < self.train_to_ns <= self.replay_from_ns < self.replay_to_ns:
            raise BadSetting(
                f"train {rfc3339(self.train_from_ns)} to {rfc3339(self.train_to_ns)}, replay {rfc3339(self.replay_from_ns)} to "
                f"{rfc3339(self.replay_to_ns)}: training must come before the replay, and neither may be empty"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SectorPlan:
    """One sector of the file: its symbols there, and the pairs that are declared among them."""

    sector: SectorId
    symbols: tuple[Symbol, ...]
    declared: tuple[PairSpec, ...]


def moment_ns(text: str) -> int:
    """A date (its midnight in New York) or an ISO time with a zone, as ns. Raises BadSetting."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadSetting(f"time {text!r}: expected YYYY-MM-DD, or an ISO time with its zone") from error
    if len(text) <= len("2020-01-01"):
        moment = datetime.combine(date.fromisoformat(text), time(), NEW_YORK)
    if moment.tzinfo is None:
        raise BadSetting(f"time {text!r} has no zone: write e.g. {text}-05:00")
    return ns_of(moment)


def bar_of(data: MarketData) -> str:
    """The bar length that suits a file: its own where we trade on it, a day for hours, a minute for anything finer."""
    if data.bar in ("1min", "5min", "1d"):
        return data.bar
    return "1d" if data.bar == "1h" else "1min"


def spans_of(data: MarketData, bar: str, *, train_from: str | None, replay_from: str | None, replay_to: str | None) -> Spans:
    """The split of a file. Without a date for the replay's start, the first TRAIN_SHARE of the sessions is for training."""
    if len(data.ticks) == 0:
        raise BadSetting(f"{data.path} holds no tick")
    first_ns, last_ns = int(data.ticks["event_ns"][0]), int(data.ticks["event_ns"][-1])
    start_ns = first_ns if train_from is None else moment_ns(train_from)
    end_ns = last_ns + 1 if replay_to is None else moment_ns(replay_to)
    split_ns = _split_ns(data, bar, start_ns, end_ns) if replay_from is None else moment_ns(replay_from)
    return Spans(train_from_ns=start_ns, train_to_ns=split_ns, replay_from_ns=split_ns, replay_to_ns=end_ns)


def _split_ns(data: MarketData, bar: str, start_ns: int, end_ns: int) -> int:
    """Midnight in New York before the session that the replay begins with."""
    event_ns = data.ticks["event_ns"]
    event_ns = event_ns[(event_ns >= start_ns) & (event_ns < end_ns)]
    if len(event_ns) == 0:
        raise BadSetting(f"{data.path} holds no tick from {rfc3339(start_ns)} to {rfc3339(end_ns)}")
    grid = session_grid(bar, int(event_ns[0]), int(event_ns[-1]))
    sessions = np.unique(np.searchsorted(grid.open_ns, event_ns, side="right") - 1)
    sessions = sessions[sessions >= 0]
    if len(sessions) < 2:
        raise BadSetting(f"{data.path} holds {len(sessions)} session(s), at least 2 are needed: one to train on, one to replay")
    first_replayed = int(sessions[max(1, int(len(sessions) * TRAIN_SHARE))])
    opens = datetime.fromtimestamp(int(grid.open_ns[first_replayed]) // 1_000_000_000, NEW_YORK)
    return ns_of(datetime.combine(opens.date(), time(), NEW_YORK))


def sectors_of(data: MarketData, sectors: Sectors, declared: Sequence[PairSpec], extra_pairs: Sequence[str]) -> tuple[SectorPlan, ...]:
    """The sectors that the file can serve: at least two of their symbols are in it. Raises BadSetting if there is none.

    A pair asked for by name whose symbols lie in no common sector makes up a sector of its own kind, `other`.
    """
    present = set(data.symbols)
    in_use = {name for name in present if sectors.in_preset(name)}
    specs = {spec.pair: spec for spec in declared if {spec.leg_a, spec.leg_b} <= in_use}
    for text in extra_pairs:
        spec = _asked_for(text, sectors, present)
        specs[spec.pair] = spec
    plans = []
    for sector in (*sectors.sectors, OTHER_SECTOR):
        own = tuple(spec for spec in specs.values() if spec.sector == sector)
        legs = {leg for spec in own for leg in (spec.leg_a, spec.leg_b)}
        symbols = tuple(sorted(legs | (in_use & set(sectors.sectors.get(sector, ())))))
        if len(symbols) > 1:
            plans.append(SectorPlan(sector=sector, symbols=symbols, declared=own))
    if not plans:
        raise BadSetting(
            f"{data.path} holds {', '.join(sorted(present)[:20])}: no sector in config/sectors.yaml has two of these. "
            "Add them with `tandem symbols add SYMBOL --sector S`, or name pairs with --pair A-B"
        )
    return tuple(plans)


def _asked_for(text: str, sectors: Sectors, present: set[Symbol]) -> PairSpec:
    try:
        leg_a, leg_b = pair_legs(text.upper())
    except ValueError as error:
        raise BadSetting(f"--pair {text}: {error}") from error
    if missing := [leg for leg in (leg_a, leg_b) if leg not in present]:
        raise BadSetting(f"--pair {text}: the data does not hold {', '.join(missing)}; it holds {', '.join(sorted(present)[:40])}")
    sector = sectors.sector_of(leg_a)
    common = sector if sector is not None and sector == sectors.sector_of(leg_b) else OTHER_SECTOR
    return PairSpec(pair=PairId(pair_id(leg_a, leg_b)), sector=common, leg_a=leg_a, leg_b=leg_b)


def slots_of(bar: str, spans: Spans) -> int:
    """Bars in the longest session of the training span."""
    return session_grid(bar, spans.train_from_ns, spans.train_to_ns).slots_max
