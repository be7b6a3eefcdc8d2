"""Readiness of the ingestor: never "running with no data"."""

from tandem.domain.control import PairSpec
from tandem.domain.ids import SectorId, Symbol, pair_id
from tandem.ingestor.condition import Condition
from tandem.ingestor.outputs import StreamError
from tandem.ingestor.pump import routes_of


def following(*symbols: str) -> Condition:
    condition = Condition()
    condition.want(frozenset(symbols))
    return condition


def test_it_is_not_ready_before_the_control_topic_is_read():
    assert Condition().why_not_ready() == "reading the control topic"


def test_it_is_ready_when_nothing_is_declared():
    assert following().why_not_ready() is None


def test_it_is_ready_when_every_symbol_is_confirmed():
    condition = following("KO", "PEP")
    assert condition.why_not_ready() == "not connected: not connected yet"
    condition.connect()
    condition.confirm(frozenset({"KO"}))
    assert condition.why_not_ready() == "subscription not confirmed for PEP"
    condition.confirm(frozenset({"KO", "PEP", "XOM"}))
    assert (condition.why_not_ready(), condition.subscribed) == (None, True)


def test_a_lost_connection_takes_the_confirmation_with_it():
    condition = following("KO")
    condition.connect()
    condition.confirm(frozenset({"KO"}))
    condition.lose("connection closed")
    assert condition.why_not_ready() == "not connected: connection closed"
    condition.connect()
    assert not condition.subscribed


def test_an_error_of_the_stream_stays_until_all_is_confirmed_again():
    condition = following("KO", "PEP")
    condition.connect()
    condition.fail(StreamError(code=405, message="symbol limit exceeded"))
    assert condition.why_not_ready() == "stream error 405: symbol limit exceeded"
    condition.confirm(frozenset({"KO"}))
    assert condition.why_not_ready() == "stream error 405: symbol limit exceeded"
    condition.confirm(frozenset({"KO", "PEP"}))
    assert condition.why_not_ready() is None


def spec(leg_a: str, leg_b: str, sector: str, *, suspended: bool = False) -> PairSpec:
    return PairSpec(pair=pair_id(leg_a, leg_b), sector=SectorId(sector), leg_a=Symbol(leg_a), leg_b=Symbol(leg_b), suspended=suspended)


def test_routes_hold_each_leg_of_a_sector_once_in_order():
    specs = [spec("PEP", "KO", "staples"), spec("KO", "PG", "staples"), spec("KO", "XOM", "energy")]
    assert routes_of({s.pair: s for s in specs}) == {"energy": ("KO", "XOM"), "staples": ("KO", "PEP", "PG")}


def test_a_suspended_pair_is_followed_so_that_it_can_be_closed():
    """Suspending means: close what is open, open nothing new; closing needs forecasts, and these need ticks."""
    specs = [spec("PEP", "KO", "staples", suspended=True)]
    assert routes_of({s.pair: s for s in specs}) == {"staples": ("KO", "PEP")}
