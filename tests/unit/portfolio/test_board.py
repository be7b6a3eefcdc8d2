"""The board: the newest state of each symbol, whichever batch told it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tandem.adapters.codec import decode_forecasts, encode_forecasts
from tandem.domain.forecasts import MarketState
from tandem.domain.ids import Symbol
from tandem.portfolio.board import Board
from trading_cases import batch

STATES = st.lists(
    st.builds(
        MarketState,
        symbol=st.sampled_from([Symbol("KO"), Symbol("PEP"), Symbol("PG")]),
        last_usd=st.sampled_from([0.0, 50.25]),
        last_ns=st.integers(0, 9),
        halted=st.booleans(),
        resumed_ns=st.integers(0, 9),
    ),
    unique_by=lambda state: state.symbol,
)


@given(st.lists(st.tuples(st.integers(1, 3), STATES), max_size=5), st.integers(0, 9))
def test_it_says_what_the_states_themselves_say(told: list[tuple[int, list[MarketState]]], oldest_ns: int) -> None:
    """Batches as they come off the log, in any order of bars: of a symbol counts the later bar, of one bar the later batch."""
    board, expected = Board(), dict[Symbol, tuple[int, MarketState]]()
    for close_ns, states in told:
        made = replace(batch(close_ns), market=tuple(states))
        board.take([decode_forecasts(encode_forecasts(made))])
        for state in states:
            if expected.get(state.symbol, (0, state))[0] <= close_ns:
                expected[state.symbol] = (close_ns, state)

    newest = {symbol: state for symbol, (_, state) in expected.items()}
    assert dict(board) == newest
    assert Symbol("nothing") not in board
    assert board.newest_ns == max((state.last_ns for state in newest.values()), default=0)
    assert board.without_price(oldest_ns) == {
        symbol for symbol, state in newest.items() if not state.has_price or 0 < state.last_ns < oldest_ns
    }
