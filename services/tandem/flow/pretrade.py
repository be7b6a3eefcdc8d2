"""Whether orders of a pair may be sent now: every check that speaks against it, each with its code, for both legs before the first leaves.

What is not known speaks against nothing: a recording without quotes has no spread to look at. What reduces a position is held back only by
what makes an order impossible or wrong, never by what makes it dear. Sizes and exposures are sizing's. Called by the portfolio with the
market of the bar; reads nothing by itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tandem.domain.assets import Asset
from tandem.domain.forecasts import MarketState
from tandem.domain.ids import Symbol
from tandem.domain.trading import Side
from tandem.domain.units import NS_PER_S, price_usd

_ZERO = Decimal(0)
_ONE = Decimal(1)
_BPS = 10_000
_DAY_NS = 86_400 * NS_PER_S


class Purpose(StrEnum):
    """What the orders are for: how much speaks against them depends on it."""

    OPEN = "open"
    COMPLETE = "complete"  # the leg that a half-filled pair still lacks: bare is worse than dear
    REDUCE = "reduce"  # close, unwind


class Code(StrEnum):
    """Why orders are not sent."""

    DUPLICATE_INTENT = "duplicate_intent"
    QTY_NOT_WHOLE = "qty_not_whole"
    TICK_SIZE = "tick_size"
    TURNS_OVER = "turns_over"
    NOTIONAL_MIN = "notional_min"
    NOTIONAL_MAX = "notional_max"
    ADV_SHARE = "adv_share"
    NOT_TRADABLE = "not_tradable"
    NOT_SHORTABLE = "not_shortable"
    HARD_TO_BORROW = "hard_to_borrow"
    HALTED = "symbol_halted"
    JUST_RESUMED = "just_resumed"
    SHORT_RESTRICTED = "short_restricted"
    SESSION_CLOSED = "session_closed"
    NEAR_OPEN = "near_open"
    NEAR_CLOSE = "near_close"
    PRICE_STALE = "price_stale"
    QUOTE_STALE = "quote_stale"
    QUOTE_CROSSED = "quote_crossed"
    SPREAD_WIDE = "spread_wide"
    OUTSIDE_BAND = "outside_band"
    PRICE_OFF_MARKET = "price_off_market"
    EX_DATE = "ex_date"
    BUYING_POWER = "buying_power"
    RATE_BUDGET = "rate_budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One thing that speaks against sending. detail states what was found and what is allowed."""

    code: Code
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PretradeLimits:
    """The part `pretrade` of config/risk.yaml. Shares are parts of one, 0.01 for one percent."""

    open_wait_s: float = 0.0
    close_cutoff_s: float = 900.0
    resume_wait_s: float = 300.0
    price_age_s_max: float = 900.0
    quote_age_s_max: float = 120.0
    spread_bps_max: float = 50.0
    price_off_share_max: float = 0.05
    band_margin_share: float = 0.001
    notional_usd_min: Decimal = _ONE
    notional_usd_max: Decimal = Decimal(1_000_000)
    adv_share_max: float = 0.01
    leverage: Decimal = Decimal(2)
    short_reserve: Decimal = Decimal("1.03")
    buying_power_margin: Decimal = Decimal("0.01")
    easy_to_borrow_only: bool = True
    requests_reserve: int = 50
    ex_days_before: int = 1
    ex_days_after: int = 1

    def __post_init__(self) -> None:
        numbers = (
            self.open_wait_s,
            self.close_cutoff_s,
            self.resume_wait_s,
            self.spread_bps_max,
            self.price_off_share_max,
            self.band_margin_share,
            self.adv_share_max,
        )
        if min(numbers) < 0 or min(self.price_age_s_max, self.quote_age_s_max) <= 0 or self.requests_reserve < 0:
            raise ValueError(f"{self}: none may be below 0, ages must be above 0")
        if not 0 <= self.notional_usd_min <= self.notional_usd_max or self.buying_power_margin < 0:
            raise ValueError(f"{self}: must be 0 <= notional_usd_min <= notional_usd_max, buying_power_margin not below 0")
        if min(self.leverage, self.short_reserve) < 1:
            raise ValueError(f"{self}: leverage and short_reserve must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The exchange's session at the decision, half days as they are."""

    open_ns: int
    close_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCase:
    """One order that is about to leave. held_shares: of its symbol in the account, signed, orders on their way included.

    closable_shares: what the account holds on the other side, less what orders on their way already close; None when there is nothing.
    """

    symbol: Symbol
    side: Side
    qty: Decimal
    price_usd: Decimal  # the decision was made at
    limit_usd: Decimal | None = None
    held_shares: Decimal = _ZERO
    closable_shares: Decimal | None = None

    @property
    def opening_shares(self) -> Decimal:
        """The part that does not close what is held."""
        held = self.held_shares * self.side.sign
        return self.qty if held >= 0 else max(self.qty + held, _ZERO)

    @property
    def short_shares(self) -> Decimal:
        """The part that is a short sale."""
        return self.opening_shares if self.side is Side.SELL else _ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class PretradeCase:
    """Everything that a check looks at: both legs of an opening or closing, or the one of a completion or unwinding.

    intent_known: this very intent was decided before. bar_ns: length of the bars that decisions are made on; from a day on orders are for
    the next session, and the time of day is no matter. session: None outside of one. ex_dates: symbols inside a window around a corporate
    action, with what it is. buying_power_usd, requests_left: None where not known or not limited.
    """

    purpose: Purpose
    at_ns: int
    bar_ns: int
    orders: tuple[OrderCase, ...]
    intent_known: bool = False
    session: Session | None = None
    market: Mapping[Symbol, MarketState] = field(default_factory=dict)
    assets: Mapping[Symbol, Asset] = field(default_factory=dict)
    ex_dates: Mapping[Symbol, str] = field(default_factory=dict)
    buying_power_usd: Decimal | None = None
    requests_left: int | None = None


def check(case: PretradeCase, limits: PretradeLimits) -> tuple[Refusal, ...]:
    """Everything that speaks against sending these orders now, in the order of the tables; nothing: send."""
    return tuple(refusal for rule in _RULES if case.purpose in rule.purposes for refusal in rule.find(case, limits))


def told(refusals: tuple[Refusal, ...]) -> str:
    """All of them in one line, for people."""
    return "; ".join(f"{refusal.code.value}: {refusal.detail}" for refusal in refusals)


Found = Iterator[Refusal]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    find: Callable[[PretradeCase, PretradeLimits], Found]
    purposes: frozenset[Purpose]


def _duplicate(case: PretradeCase, _: PretradeLimits) -> Found:
    if case.intent_known:
        yield Refusal(code=Code.DUPLICATE_INTENT, detail="this intent was decided before; each is sent once")


def _whole(case: PretradeCase, _: PretradeLimits) -> Found:
    for order in case.orders:
        if order.qty <= 0 or order.qty != order.qty.to_integral_value():
            yield Refusal(code=Code.QTY_NOT_WHOLE, detail=f"{order.symbol} {order.qty} shares, must be whole and above 0")


def _tick(case: PretradeCase, _: PretradeLimits) -> Found:
    for order in case.orders:
        limit = order.limit_usd
        if limit is not None and (limit <= 0 or price_usd(limit) != limit):
            yield Refusal(code=Code.TICK_SIZE, detail=f"{order.symbol} limit {limit}, must be a multiple of its tick and above 0")


def _turns_over(case: PretradeCase, _: PretradeLimits) -> Found:
    """No broker takes one order from long to short: the account must be flat in between."""
    for order in case.orders:
        if order.closable_shares is not None and order.qty > order.closable_shares:
            detail = f"{order.side} {order.qty} {order.symbol}, {order.closable_shares} can be closed before the position turns over"
            yield Refusal(code=Code.TURNS_OVER, detail=detail)


def _notional(case: PretradeCase, limits: PretradeLimits) -> Found:
    for order in case.orders:
        usd = order.qty * order.price_usd
        if 0 < usd < limits.notional_usd_min:
            yield Refusal(code=Code.NOTIONAL_MIN, detail=f"{order.symbol} {usd:.2f} USD, at least {limits.notional_usd_min}")
        if usd > limits.notional_usd_max:
            yield Refusal(code=Code.NOTIONAL_MAX, detail=f"{order.symbol} {usd:.2f} USD, at most {limits.notional_usd_max}")


def _adv(case: PretradeCase, limits: PretradeLimits) -> Found:
    for order in case.orders:
        adv = case.assets[order.symbol].adv_shares if order.symbol in case.assets else 0.0
        if adv and float(order.qty) > limits.adv_share_max * adv:
            detail = f"{order.symbol} {order.qty} shares, at most {limits.adv_share_max:.2%} of {adv:.0f} a day"
            yield Refusal(code=Code.ADV_SHARE, detail=detail)


def _tradable(case: PretradeCase, _: PretradeLimits) -> Found:
    for order in case.orders:
        asset = case.assets.get(order.symbol)
        if asset is not None and not asset.tradable:
            yield Refusal(code=Code.NOT_TRADABLE, detail=f"the broker does not trade {order.symbol}")


def _borrow(case: PretradeCase, limits: PretradeLimits) -> Found:
    for order in case.orders:
        asset = case.assets.get(order.symbol)
        if asset is None or not order.short_shares:
            continue
        if not asset.shortable:
            yield Refusal(code=Code.NOT_SHORTABLE, detail=f"{order.symbol} may not be sold short")
        elif limits.easy_to_borrow_only and not asset.easy_to_borrow:
            yield Refusal(code=Code.HARD_TO_BORROW, detail=f"{order.symbol} is hard to borrow today")


def _halted(case: PretradeCase, _: PretradeLimits) -> Found:
    for order, market in _known(case):
        if market.halted:
            yield Refusal(code=Code.HALTED, detail=f"{order.symbol} does not trade now")


def _resumed(case: PretradeCase, limits: PretradeLimits) -> Found:
    """The first prices after a halt are a search for one; without a trade since, there is none at all."""
    for order, market in _known(case):
        if market.halted or not market.resumed_ns:
            continue
        since_s = (case.at_ns - market.resumed_ns) / NS_PER_S
        if since_s < limits.resume_wait_s:
            detail = f"{order.symbol} trades again for {since_s:.0f} s, at least {limits.resume_wait_s:.0f}"
            yield Refusal(code=Code.JUST_RESUMED, detail=detail)
        elif not market.has_price:
            yield Refusal(code=Code.JUST_RESUMED, detail=f"{order.symbol} may trade again and has not, must have a price since its halt")


def _restricted(case: PretradeCase, _: PretradeLimits) -> Found:
    for order, market in _known(case):
        if market.short_restricted and order.short_shares and (order.limit_usd is None or float(order.limit_usd) <= market.bid_usd):
            detail = f"{order.symbol} may be sold short above the best bid {market.bid_usd:g} only"
            yield Refusal(code=Code.SHORT_RESTRICTED, detail=detail)


def _session(case: PretradeCase, limits: PretradeLimits) -> Found:
    if case.bar_ns >= _DAY_NS:
        return
    if case.session is None:
        yield Refusal(code=Code.SESSION_CLOSED, detail="outside of trading hours")
        return
    since_s = (case.at_ns - case.session.open_ns) / NS_PER_S
    left_s = (case.session.close_ns - case.at_ns) / NS_PER_S
    if since_s < limits.open_wait_s:
        yield Refusal(code=Code.NEAR_OPEN, detail=f"{since_s:.0f} s after the open, at least {limits.open_wait_s:.0f}")
    if left_s <= limits.close_cutoff_s:
        yield Refusal(code=Code.NEAR_CLOSE, detail=f"{left_s:.0f} s before the close, more than {limits.close_cutoff_s:.0f}")


def _age(case: PretradeCase, limits: PretradeLimits) -> Found:
    for order, market in _known(case):
        age_s = (case.at_ns - market.last_ns) / NS_PER_S
        if market.last_ns and age_s > limits.price_age_s_max:
            detail = f"{order.symbol} traded {age_s:.0f} s ago, at most {limits.price_age_s_max:.0f}"
            yield Refusal(code=Code.PRICE_STALE, detail=detail)


def _quote(case: PretradeCase, limits: PretradeLimits) -> Found:
    for order, market in _known(case):
        if not market.quote_ns:
            continue
        age_s = (case.at_ns - market.quote_ns) / NS_PER_S
        bid, ask = market.bid_usd, market.ask_usd
        if age_s > limits.quote_age_s_max:
            detail = f"{order.symbol} was quoted {age_s:.0f} s ago, at most {limits.quote_age_s_max:.0f}"
            yield Refusal(code=Code.QUOTE_STALE, detail=detail)
        elif bid <= 0 or ask <= bid:
            detail = f"{order.symbol} bid {bid:g}, ask {ask:g}; the ask must be above the bid, both above 0"
            yield Refusal(code=Code.QUOTE_CROSSED, detail=detail)
        elif (bps := _BPS * (ask - bid) / ((ask + bid) / 2)) > limits.spread_bps_max:
            detail = f"{order.symbol} spread of {bps:.1f} bps, at most {limits.spread_bps_max:g}"
            yield Refusal(code=Code.SPREAD_WIDE, detail=detail)


def _band(case: PretradeCase, limits: PretradeLimits) -> Found:
    """A buyer near the upper band or a seller near the lower one meets nobody who may trade."""
    for order, market in _known(case):
        price, margin = market.last_usd or float(order.price_usd), limits.band_margin_share
        low, high = market.band_low_usd * (1 + margin), market.band_high_usd * (1 - margin)
        beyond = (market.band_high_usd and price >= high) if order.side is Side.BUY else (market.band_low_usd and price <= low)
        if beyond:
            detail = f"{order.side} {order.symbol} at {price:g}, its band is {market.band_low_usd:g} to {market.band_high_usd:g}"
            yield Refusal(code=Code.OUTSIDE_BAND, detail=detail)


def _off_market(case: PretradeCase, limits: PretradeLimits) -> Found:
    """The decision's price is not the market's: a bad print, or one that has moved on."""
    for order, market in _known(case):
        for name, price in (("last trade", market.last_usd), ("quote", _middle(market))):
            off = abs(float(order.price_usd) / price - 1) if price else 0.0
            if off > limits.price_off_share_max:
                detail = f"{order.symbol} decided at {order.price_usd}, its {name} is {price:g}: {off:.1%} apart, at most"
                yield Refusal(code=Code.PRICE_OFF_MARKET, detail=f"{detail} {limits.price_off_share_max:.1%}")
                break


def _ex_date(case: PretradeCase, _: PretradeLimits) -> Found:
    for order in case.orders:
        if what := case.ex_dates.get(order.symbol):
            yield Refusal(code=Code.EX_DATE, detail=f"{order.symbol}: {what}")


def _buying_power(case: PretradeCase, limits: PretradeLimits) -> Found:
    """For both legs together: the second is refused by the broker after the first has filled, otherwise."""
    if case.buying_power_usd is None:
        return
    need = sum((cost_usd(order, case.market.get(order.symbol), limits) for order in case.orders), _ZERO)
    if need > case.buying_power_usd:
        detail = f"{need:.2f} USD for all legs, {case.buying_power_usd:.2f} may be used"
        yield Refusal(code=Code.BUYING_POWER, detail=detail)


def cost_usd(order: OrderCase, market: MarketState | None, limits: PretradeLimits) -> Decimal:
    """Buying power that the broker reserves for the opening part of an order, with a margin for a market order's price."""
    ask = price_usd(market.ask_usd) if market is not None and market.ask_usd > 0 else order.price_usd
    price = max(ask, order.price_usd) * (_ONE + limits.buying_power_margin)
    if order.side is Side.SELL:
        return order.opening_shares * max(order.limit_usd or _ZERO, limits.short_reserve * price)
    return order.opening_shares * (order.limit_usd or price)


def _rate(case: PretradeCase, limits: PretradeLimits) -> Found:
    """What is left of the broker's requests is for exits and hedges first."""
    if case.requests_left is not None and case.requests_left < limits.requests_reserve + len(case.orders):
        detail = f"{case.requests_left} requests are left, {limits.requests_reserve} are kept for exits and hedges"
        yield Refusal(code=Code.RATE_BUDGET, detail=detail)


def _known(case: PretradeCase) -> Iterator[tuple[OrderCase, MarketState]]:
    return ((order, case.market[order.symbol]) for order in case.orders if order.symbol in case.market)


def _middle(market: MarketState) -> float:
    return (market.bid_usd + market.ask_usd) / 2 if 0 < market.bid_usd < market.ask_usd else 0.0


_ALWAYS = frozenset(Purpose)
_ADDS = frozenset({Purpose.OPEN, Purpose.COMPLETE})
_OPENS = frozenset({Purpose.OPEN})
_RULES: tuple[_Rule, ...] = (
    _Rule(find=_duplicate, purposes=_ALWAYS),
    _Rule(find=_whole, purposes=_ALWAYS),
    _Rule(find=_tick, purposes=_ALWAYS),
    _Rule(find=_tradable, purposes=_ALWAYS),
    _Rule(find=_halted, purposes=_ALWAYS),
    _Rule(find=_turns_over, purposes=_ADDS),
    _Rule(find=_borrow, purposes=_ADDS),
    _Rule(find=_restricted, purposes=_ADDS),
    _Rule(find=_buying_power, purposes=_ADDS),
    _Rule(find=_notional, purposes=_OPENS),
    _Rule(find=_adv, purposes=_OPENS),
    _Rule(find=_session, purposes=_OPENS),
    _Rule(find=_resumed, purposes=_OPENS),
    _Rule(find=_age, purposes=_OPENS),
    _Rule(find=_quote, purposes=_OPENS),
    _Rule(find=_band, purposes=_OPENS),
    _Rule(find=_off_market, purposes=_OPENS),
    _Rule(find=_ex_date, purposes=_OPENS),
    _Rule(find=_rate, purposes=_OPENS),
)
