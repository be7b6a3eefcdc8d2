"""The pair machine against a broker that does anything: refuses, fills in parts, loses, repeats and reorders what it tells."""

from dataclasses import dataclass
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tandem.domain.ids import client_order_id
from tandem.domain.trading import Fill, Order, OrderStatus, PairState, Side
from tandem.flow.execution import NEXT, flat, step
from tandem.flow.execution_records import (
    Alarm,
    CancelWanted,
    Closing,
    CompleteWanted,
    Completing,
    Event,
    Execution,
    Flattening,
    FlattenWanted,
    Opened,
    Patience,
    Quarantine,
    Release,
    Reported,
    Review,
)
from tandem.flow.signals import Held
from trading_cases import CONSUMER, KO, PAIR, PEP

_S = 1_000_000_000
_PATIENCE = Patience(leg_wait_bars_max=3, leg_wait_s_max=5.0, unwind_attempts_max=3, completions_max=2, retry_s=2.0)
_HELD = Held(direction=1, opened_bar_index=0, half_life_bars=1.0, digest="d")
_ENDS = (OrderStatus.REJECTED, OrderStatus.CANCELED, OrderStatus.EXPIRED)
_QUIET_BARS = 12


@dataclass
class _AtBroker:
    """An order as the broker has it: the truth, whatever it has told."""

    order: Order
    status: OrderStatus = OrderStatus.ACCEPTED
    filled: int = 0


class PairMachine(RuleBasedStateMachine):
    """Messages wait in `told` until they are delivered, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.pair: Execution = flat(PAIR, CONSUMER, KO, PEP)
        self.broker: dict[str, _AtBroker] = {}
        self.told: list[Event] = []
        self.booked = {KO: Decimal(0), PEP: Decimal(0)}
        self.ratio = (20, 8)
        self.now_ns = self.executions = self.intents = 0

    @initialize(a=st.integers(1, 30), b=st.integers(1, 30))
    def sizes(self, a: int, b: int) -> None:
        self.ratio = (a, b)

    # --- what the desk does

    def tell(self, event: Event) -> tuple[object, ...]:
        old = self.pair
        self.pair, out = step(old, event, _PATIENCE)
        if (old.state, type(event)) in NEXT:
            assert self.pair.state is old.state or self.pair.state in NEXT[old.state, type(event)]
        else:
            assert self.pair == old
            assert [o.code for o in out if isinstance(o, Alarm)] == ["illegal_transition"]
        return out

    def make(self, leg: str, side: Side, qty: int, intent: str) -> Order:
        return Order(
            client_order_id=client_order_id(intent, leg, 0),
            intent_id=intent,
            pair=PAIR,
            leg=leg,
            attempt=0,
            symbol=KO if leg == "a" else PEP,
            side=side,
            qty=qty,
            limit_usd=None,
            decided_ns=self.now_ns,
        )

    def intent(self) -> str:
        self.intents += 1
        return f"i{self.intents}"

    def send(self, *orders: Order) -> None:
        for order in orders:
            working = [o.order.leg for o in self.broker.values() if not o.status.is_final]
            assert order.leg not in working, f"a second live order of leg {order.leg}"
            self.broker[order.client_order_id] = _AtBroker(order=order)

    def act(self, bar_closed: bool) -> None:
        for want in self.tell(Review(at_ns=self.now_ns, bar_closed=bar_closed)):
            if isinstance(want, CancelWanted):
                self.finish(want.order.order.client_order_id, OrderStatus.CANCELED)
            elif isinstance(want, FlattenWanted | CompleteWanted):
                intent = self.intent()
                orders = tuple(self.make(leg, side, qty, intent) for leg, _, side, qty in want.legs)
                if isinstance(want, CompleteWanted):
                    assert all(o.qty <= abs(self.leg(o).target) for o in orders), "never more than was wanted"
                self.tell(Flattening(orders=orders) if isinstance(want, FlattenWanted) else Completing(orders=orders))
                self.send(*orders)

    def leg(self, order: Order) -> object:
        return self.pair.a if order.leg == "a" else self.pair.b

    # --- what the broker does

    def working(self) -> list[str]:
        return [key for key, o in self.broker.items() if not o.status.is_final]

    def execute(self, key: str, qty: int) -> None:
        at = self.broker[key]
        qty = min(qty, at.order.qty - at.filled)
        if not qty:
            return
        at.filled += qty
        self.executions += 1
        if at.filled == at.order.qty:
            at.status = OrderStatus.FILLED
        self.told.append(
            Fill(
                execution_id=str(self.executions),
                client_order_id=key,
                symbol=at.order.symbol,
                side=at.order.side,
                qty=Decimal(qty),
                price_usd=Decimal(50),
                event_ns=self.now_ns,
            )
        )
        self.report(key)

    def report(self, key: str) -> None:
        at = self.broker[key]
        status = OrderStatus.PARTIAL if at.status is OrderStatus.ACCEPTED and at.filled else at.status
        self.told.append(Reported(client_order_id=key, status=status, filled=Decimal(at.filled), broker_order_id=f"B{key}"))

    def finish(self, key: str, status: OrderStatus) -> None:
        at = self.broker[key]
        if not at.status.is_final:
            at.status = status
        self.report(key)

    def deliver(self, number: int) -> None:
        event = self.told.pop(number % len(self.told))
        if isinstance(event, Fill):
            self.booked[event.symbol] += event.qty * event.side.sign
        self.tell(event)

    # --- rules

    @rule()
    def trade(self) -> None:
        a, b = self.ratio
        if self.pair.state is PairState.FLAT and not self.working():
            intent = self.intent()
            orders = self.make("a", Side.BUY, a, intent), self.make("b", Side.SELL, b, intent)
            self.tell(Opened(trade_id=intent, held=_HELD, a=orders[0], b=orders[1]))
            self.send(*orders)
        elif self.pair.state is PairState.HEDGED and not self.working():
            intent, (leg_a, leg_b) = self.intent(), self.pair.legs
            orders = self.make("a", Side.SELL, int(leg_a.held), intent), self.make("b", Side.BUY, -int(leg_b.held), intent)
            self.tell(Closing(a=orders[0], b=orders[1]))
            self.send(*orders)

    @rule(bar_closed=st.booleans(), seconds=st.integers(0, 4))
    def look(self, bar_closed: bool, seconds: int) -> None:
        self.now_ns += seconds * _S + 1
        self.act(bar_closed)

    @precondition(lambda self: self.working())
    @rule(which=st.integers(0, 9), qty=st.integers(1, 30))
    def fill(self, which: int, qty: int) -> None:
        keys = self.working()
        self.execute(keys[which % len(keys)], qty)

    @precondition(lambda self: self.working())
    @rule(which=st.integers(0, 9), end=st.sampled_from(_ENDS))
    def end(self, which: int, end: OrderStatus) -> None:
        keys = self.working()
        key = keys[which % len(keys)]
        if end is not OrderStatus.REJECTED or not self.broker[key].filled:
            self.finish(key, end)

    @precondition(lambda self: self.broker)
    @rule(which=st.integers(0, 99))
    def repeat_a_report(self, which: int) -> None:
        keys = list(self.broker)
        self.report(keys[which % len(keys)])

    @precondition(lambda self: self.told)
    @rule(which=st.integers(0, 99))
    def hear(self, which: int) -> None:
        self.deliver(which)

    @rule()
    def quarantine(self) -> None:
        self.tell(Quarantine(reason="test"))

    @rule()
    def release(self) -> None:
        self.tell(Release())

    # --- laws

    @invariant()
    def holds_what_was_booked(self) -> None:
        assert (self.pair.a.held, self.pair.b.held) == (self.booked[KO], self.booked[PEP])

    @invariant()
    def rests_only_with_both_legs_or_neither(self) -> None:
        a, b = self.pair.legs
        if self.pair.state is PairState.FLAT:
            assert a.held == b.held == 0
        if self.pair.state is PairState.HEDGED:
            assert (a.held, b.held) == (a.target, b.target) != (0, 0)
            wanted_a, wanted_b = self.ratio
            error = max(abs(a.held * wanted_b + b.held * wanted_a) / wanted_a, Decimal(0))
            other = abs(a.held * wanted_b + b.held * wanted_a) / wanted_b
            assert min(error, other) <= Decimal("0.5"), f"{a.held} and {b.held} instead of {wanted_a} to {wanted_b}"

    def teardown(self) -> None:
        """The trouble ends: everything is told and every order that works is filled. Both legs or neither within some bars."""
        for _ in range(_QUIET_BARS):
            self.now_ns += _S
            while self.told:
                self.deliver(0)
            for key in self.working():
                self.execute(key, 99)
            while self.told:
                self.deliver(0)
            self.act(True)
        while self.told:
            self.deliver(0)
        self.holds_what_was_booked()
        self.rests_only_with_both_legs_or_neither()
        assert self.pair.state in (PairState.FLAT, PairState.HEDGED, PairState.QUARANTINED)


PairMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestPairMachine = PairMachine.TestCase
