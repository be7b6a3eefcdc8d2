"""A fault at every call of every port of the portfolio: one order per intent, the ledger the broker's, the same orders as without it.

The engine, the desk and the books are the real ones, over the recycler's paper exchange; the database is in memory. The same with
PostgreSQL is in tests/integration/test_portfolio_faults.py.
"""

import pytest

from fault_world import PATH, PORTS, SPECS, Faults, FaultWorld, LastingStore, Recording, recording
from trading_table import RISK

Outcome = tuple[Faults, list[object], list[tuple[str, ...]]]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return recording(tmp_path_factory.mktemp("data"))


def play(tape: Recording, faults: Faults) -> tuple[FaultWorld, LastingStore]:
    store = LastingStore()
    world = FaultWorld(tape, RISK, account="faults", store_of=lambda: store, faults=faults)
    world.play(PATH, SPECS)
    return world, store


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender's waits are wall time, which these tests do not need."""
    monkeypatch.setattr("tandem.portfolio.sender._WAITS_S", (0.0, 0.0))


@pytest.fixture(scope="module")
def clean(tape: Recording) -> Outcome:
    """The replay without a fault: how many calls there are, and what comes of it."""
    faults = Faults()
    world, store = play(tape, faults)
    assert (world.sessions, world.deaths) == (1, [])
    faults.calls = world.calls
    return faults, store.tables(), world.orders_at_the_exchange()


def test_the_clean_run_trades_and_pairs_meet(clean: Outcome) -> None:
    """Otherwise the comparison below would prove nothing."""
    faults, (orders, fills, pairs, _, equity), at_exchange = clean

    assert {state for _, state, *_ in pairs} == {"flat"}
    assert len(orders) == 14
    assert sorted(row[-1] for row in orders)[:3] == ["canceled", "filled", "filled"]
    assert sorted(row[-1] for row in orders)[-1] == "rejected"
    assert len([row for row in orders if row[2]]) == 4, "two meetings of two orders"
    assert len([row for row in fills if row[0].startswith("cross/")]) == 4
    assert 8 <= len(at_exchange) < len(orders)
    assert len(equity) >= 8
    assert set(PORTS) <= set(faults.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("port", PORTS)
def test_a_fault_at_any_call_changes_nothing(tape: Recording, clean: Outcome, port: str, after: bool) -> None:
    """Each call in turn, before and after its effect: the process goes on in a new session, and the end is the same."""
    faults, expected, at_exchange = clean
    for number in range(1, faults.calls[port] + 1):
        world, store = play(tape, Faults(port=port, number=number, after=after))
        told = f"{port}, call {number}, {'after' if after else 'before'} its effect, {world.sessions} sessions: {world.deaths}"
        assert world.faults.struck, told
        assert world.sessions == 1 + len(world.deaths) or number == faults.calls[port], told
        assert world.orders_at_the_exchange() == at_exchange, told
        for mine, theirs in zip(store.tables(), expected, strict=True):
            assert mine == theirs, told
