"""The paper exchange of a recycler as its options describe it: rules, script, log, the tape over the recording, its voice in the feed."""

from collections.abc import Sequence

from tandem.adapters.fees_file import load_fees
from tandem.adapters.tick_build import TickStore
from tandem.domain.ids import Symbol
from tandem.domain.market import STATUS_HALTED, STATUS_SHORT_RESTRICTED, SessionGrid
from tandem.flow.directives import Band, Directive, Halt, Resume, ShortRestriction
from tandem.flow.exchange_records import Rules
from tandem.flow.tape import Tape, special_places
from tandem.recycler.directives_body import Planned, When
from tandem.recycler.exchange_log import ExchangeLog
from tandem.recycler.feed import Announcement, Feed
from tandem.recycler.options import MAX_SPEED, RecyclerOptions
from tandem.recycler.script import load_script
from tandem.recycler.tick_encoding import band_document, status_texts

_RATE_PER_MIN = 200  # Alpaca's, for each account


def rules_of(options: RecyclerOptions) -> Rules:
    """What the exchange charges and allows."""
    return Rules(
        fees=load_fees(options.fees),
        half_spread_bps=options.half_spread_bps,
        strict=options.strict,
        participation=options.participation,
        slippage_bps=options.slippage_bps,
        borrow_bps_year=options.borrow_bps,
        hard_borrow_bps_year=options.hard_borrow_bps,
        margin_bps_year=options.margin_bps,
    )


def script_of(options: RecyclerOptions, symbols: Sequence[Symbol]) -> tuple[Planned, ...]:
    """What happens by itself."""
    return load_script(options.script, symbols) if options.script else ()


def log_of(options: RecyclerOptions) -> ExchangeLog | None:
    """Where the exchange writes down what it does, if anywhere."""
    return ExchangeLog(options.state_dir) if options.state_dir else None


def rate_of(options: RecyclerOptions) -> int:
    """Requests a minute that an account may send to the trading API, 0 for any number: as at Alpaca unless time itself is faster."""
    if options.rate_limit is not None:
        return options.rate_limit
    return 0 if options.speed == MAX_SPEED or options.lockstep else _RATE_PER_MIN


def tape_of(store: TickStore, grid: SessionGrid) -> Tape:
    """The exchange's view of the recording's columns."""
    return Tape(
        symbols=store.data.symbols,
        event_ns=store.event_ns,
        price=store.price,
        places=dict(store.priced),
        symbol=store.symbol,
        ticks=store.data.ticks,
        quotes=dict(store.quotes),
        special=special_places(store.data.ticks, store.events),
        grid=grid,
    )


class Announcer:
    """Tells subscribers of market data what directives do to the market: halts, short sale restrictions, price bands."""

    def __init__(self, feed: Feed, symbols: Sequence[Symbol]) -> None:
        self._feed, self._symbols = feed, symbols
        self._ahead: list[Directive] = []  # told, and about to take effect
        self._halts: set[Symbol | None] = set()  # told and not over; None: the whole market's

    def ahead(self, waiting: Sequence[Planned], until_ns: int) -> None:
        """Those whose time comes with the ticks that are sent next: told before them, so that the stream keeps the order of time."""
        for planned in waiting:
            if planned.when is When.TIME and planned.at <= until_ns:
                self._ahead.append(planned.directive)
                self._tell(planned.directive, planned.at)

    def told(self, directive: Directive, event_ns: int) -> None:
        """One has taken effect."""
        if any(one is directive for one in self._ahead):
            self._ahead = [one for one in self._ahead if one is not directive]
        else:
            self._tell(directive, event_ns)

    def _tell(self, directive: Directive, event_ns: int) -> None:
        if isinstance(directive, Halt):
            self._halts.add(directive.symbol)
        elif isinstance(directive, Resume):
            self._halts.discard(directive.symbol)
        for channel, name, document in _messages(directive, self._symbols):
            if isinstance(directive, Resume) and not self._halts.isdisjoint((None, name)):
                continue  # another halt of it stands: its own, or the market's
            self._feed.announce(Announcement(channel=channel, symbol=name, event_ns=event_ns, document=document))


def _messages(directive: Directive, symbols: Sequence[Symbol]) -> list[tuple[str, Symbol, dict[str, object]]]:
    match directive:
        case Halt(symbol=symbol, reason=reason):
            return [_status(name, 0, STATUS_HALTED, reason) for name in (symbols if symbol is None else (symbol,))]
        case Resume(symbol=symbol):
            return [_status(name, STATUS_HALTED, 0, "") for name in (symbols if symbol is None else (symbol,))]
        case ShortRestriction(symbol=symbol, restricted=restricted):
            before, after = (0, STATUS_SHORT_RESTRICTED) if restricted else (STATUS_SHORT_RESTRICTED, 0)
            return [_status(symbol, before, after, "")]
        case Band(symbol=symbol, low_usd=low, high_usd=high) if low is not None and high is not None:  # Alpaca has no word for none
            return [("lulds", symbol, band_document(symbol, float(low), float(high)))]
    return []


def _status(name: Symbol, before: int, after: int, reason: str) -> tuple[str, Symbol, dict[str, object]]:
    code, text, reason_code, why = status_texts(before, after, reason)
    return "statuses", name, {"T": "s", "S": name, "sc": code, "sm": text, "rc": reason_code, "rm": why, "z": ""}
