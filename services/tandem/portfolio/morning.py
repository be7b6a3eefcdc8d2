"""Once a day, before its first decision: what may be borrowed today, what trades in a day, which corporate actions are near or due.

A split that is due changes shares, marks and the ledger before anything is valued or decided. Asks through ports.Facts; while the answer is
not there, yesterday's facts stand, it is tried again at each bar, and told of once. Called by desk.py.
"""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal

import structlog

from tandem.adapters.new_york import day_of, midnight_ns
from tandem.domain.assets import Asset
from tandem.domain.control import PairSpec
from tandem.domain.corporate import ActionKind, CorporateAction
from tandem.domain.errors import Permanent, Transient
from tandem.domain.ids import PairId, Symbol
from tandem.domain.market import SessionGrid
from tandem.domain.trading import PairState, Position
from tandem.flow import accounting, corporate
from tandem.flow.accounting import split_entry
from tandem.flow.journal import GuardRecord
from tandem.flow.pretrade import PretradeLimits
from tandem.flow.sessions import session_at, session_number
from tandem.portfolio.books import Books
from tandem.portfolio.gate import Gate
from tandem.portfolio.watch import Watch
from tandem.ports import Facts

log = structlog.get_logger()
_NAME = ("morning", "")
_ZERO = Decimal(0)
_NEVER = ("", False)
_LOOK_DAYS = 45  # around today: more than an ex-date's window, and than the twenty daily bars between two comparisons of the books
_TOLD_MAX = 300  # characters of an error
_APPLIED_MAX = 1_000  # ids of actions that were taken in; older ones are not asked for any more


class Morning:
    """The facts of one account's symbols."""

    def __init__(self, books: Books, gate: Gate, watch: Watch, facts: Facts, *, limits: PretradeLimits, grid: SessionGrid) -> None:
        self._books, self._gate, self._watch, self._facts = books, gate, watch, facts
        self._limits, self._grid = limits, grid
        known = books.guards.get(_NAME, {})
        self._day: str = known.get("day", "")  # the newest that was looked at
        self._applied: tuple[str, ...] = tuple(known.get("applied", ()))
        self._asked = _NEVER  # day, and whether in its session: borrow lists come before the open
        self._actions: tuple[CorporateAction, ...] = ()
        self._failed_on = ""

    def look(self, specs: Mapping[PairId, PairSpec], at_ns: int) -> None:
        """At a bar: ask once a day, and take in what is due."""
        day = day_of(at_ns)
        if not self._ask(specs, day, at_ns):
            return
        first = self._day  # "" before the first morning: what was held then has today's shares already
        due = [a for a in self._actions if first and first < a.ex_day <= day and a.action_id not in self._applied]
        for action in due:
            self._apply(action, at_ns)
        if day != first or due:
            self._day, self._applied = day, (*self._applied, *(a.action_id for a in due))[-_APPLIED_MAX:]
            self._keep(at_ns)

    def settle(self, specs: Mapping[PairId, PairSpec], positions: Iterable[Position], at_ns: int, *, moved: bool = False) -> None:
        """Between bars, before the ledger is compared: take in the splits that the broker's positions already show.

        moved: the broker may have booked something by itself since the day's facts were asked for. Where its shares are not the ledger's,
        they are then asked for once more.
        """
        broker, ledger = {p.symbol: p.qty for p in positions}, accounting.positions(self._books.book)
        if moved and any(broker.get(symbol, _ZERO) != shares for symbol, shares in ledger.items()):
            self._asked = _NEVER
        self._ask(specs, day_of(at_ns), at_ns)
        session = session_number(self._grid, at_ns)
        for action in self._actions:
            shares = ledger.get(action.symbol)
            if action.kind is not ActionKind.SPLIT or not shares or action.action_id in self._applied:
                continue
            split = corporate.after_split(shares, action.ratio)
            if shares != split == broker.get(action.symbol) and self._ex_session(action) <= session:
                self._apply(action, at_ns)
                self._applied = (*self._applied, action.action_id)[-_APPLIED_MAX:]
                self._keep(at_ns)

    def _ask(self, specs: Mapping[PairId, PairSpec], day: str, at_ns: int) -> bool:
        """Whether the facts of this part of the day are there."""
        part = (day, session_at(self._grid, at_ns) is not None)
        if part == self._asked:
            return True
        symbols = self._symbols(specs)
        try:
            assets = self._facts.assets(symbols, at_ns)
            actions = self._facts.actions(symbols, _moved(min(self._day or day, day), -_LOOK_DAYS), _moved(day, _LOOK_DAYS))
        except (Transient, Permanent) as error:
            if self._failed_on != day:
                self._failed_on = day
                self._books.alarm("book", "morning_unknown", str(error)[:_TOLD_MAX], at_ns)
            return False
        self._asked, self._actions = part, tuple(sorted(actions, key=lambda a: (a.ex_day, a.action_id)))
        self._take_assets(assets, at_ns)
        self._gate.ex_dates = corporate.windows(
            actions,
            {action.ex_day: self._ex_session(action) for action in actions},
            session_number(self._grid, at_ns),
            before=self._limits.ex_days_before,
            after=self._limits.ex_days_after,
        )
        return True

    def _ex_session(self, action: CorporateAction) -> int:
        return session_number(self._grid, midnight_ns(action.ex_day) + 1)

    def _keep(self, at_ns: int) -> None:
        document = {"day": self._day, "applied": list(self._applied)}
        self._books.put_guard(GuardRecord(name=_NAME[0], scope=_NAME[1], document=document, event_ns=at_ns))

    def _symbols(self, specs: Mapping[PairId, PairSpec]) -> tuple[Symbol, ...]:
        declared = {leg for spec in specs.values() for leg in (spec.leg_a, spec.leg_b)}
        held = {leg.symbol for e in self._books.executions.values() if e.state is not PairState.FLAT for leg in e.legs}
        return tuple(sorted(declared | held))

    def _take_assets(self, assets: Iterable[Asset], at_ns: int) -> None:
        self._gate.assets = {asset.symbol: asset for asset in assets}
        for execution in self._books.executions.values():
            for leg in execution.legs:
                asset = self._gate.assets.get(leg.symbol)
                if leg.held < 0 and asset is not None and not (asset.shortable and asset.easy_to_borrow):
                    detail = f"{leg.symbol}: {leg.held} shares are short, and it is hard to borrow today: it may be bought in"
                    self._books.alarm(f"pair/{execution.pair}", "short_hard_to_borrow", detail, at_ns)

    def _apply(self, action: CorporateAction, at_ns: int) -> None:
        """A split changes shares and marks; whatever changes the spread makes its pairs wait for another model; all is told."""
        books = self._books
        breaks = corporate.breaks_model(action, books.price_usd(action.symbol))
        if action.kind is ActionKind.SPLIT:
            self._split(action, at_ns)
        legs = {pair: {leg.symbol for leg in execution.legs} for pair, execution in books.executions.items()}
        legs |= {pair: {forecast.leg_a, forecast.leg_b} | legs.get(pair, set()) for pair, (forecast, _, _) in books.latest.items()}
        for pair in sorted(pair for pair, symbols in legs.items() if breaks and action.symbol in symbols):
            self._watch.broken(pair, at_ns, midnight_ns(action.ex_day))
        books.alarm(f"symbol/{action.symbol}", "corporate_action", action.told, at_ns)
        log.info("corporate_action", symbol=action.symbol, kind=action.kind.value, ex_day=action.ex_day, ratio=str(action.ratio))

    def _split(self, action: CorporateAction, at_ns: int) -> None:
        """Pairs first; what was traded behind our back belongs to none, and takes what then is missing to the account's own shares."""
        books, symbol = self._books, action.symbol
        account = corporate.after_split(accounting.positions(books.book).get(symbol, _ZERO), action.ratio)
        foreign = books.book.shares.get((accounting.NO_PAIR, symbol), _ZERO)
        for new in corporate.rescaled(books.executions.values(), action):
            if new.shares:
                books.rescale(new.execution, symbol, split_entry(action.action_id, symbol, new.execution.pair, new.shares, at_ns))
        missing = account - accounting.positions(books.book).get(symbol, _ZERO)
        if foreign and missing:
            books.enter(split_entry(action.action_id, symbol, accounting.NO_PAIR, missing, at_ns))
            books.last_booking[symbol] = books.bookings
        books.reprice(symbol, action.ratio)


def _moved(day: str, days: int) -> str:
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
