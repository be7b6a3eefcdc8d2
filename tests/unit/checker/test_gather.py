"""What the checker takes of a recording: the legs' ticks of the span, as the recycler sends them, whatever else the files hold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorded_cases import MINUTE_NS, OPEN_NS, events, steady_trades, trades
from tandem.adapters.market_file import load_market_data
from tandem.adapters.synthetic_twin import twin
from tandem.adapters.tick_store import StoreOptions, open_store
from tandem.checker.gather import Places, gather
from tandem.domain.errors import BadSetting
from tandem.domain.ids import PairId, Symbol
from tandem.domain.market import KIND_CANCEL, KIND_CORRECTION, KIND_TRADE
from verify_cases import SPEC

LEGS = (SPEC.leg_a, SPEC.leg_b)


@pytest.mark.parametrize(
    "span", [(None, None), (OPEN_NS + MINUTE_NS, None), (None, OPEN_NS + MINUTE_NS), (OPEN_NS + 1, OPEN_NS + MINUTE_NS)]
)
def test_a_file_gives_the_ticks_that_the_whole_of_it_would(tmp_path: Path, span: tuple[int | None, int | None]) -> None:
    """Numbers of trades count over the whole file, so that a part of the day names them as the replay of the day does."""
    file = steady_trades(tmp_path / "t.parquet", symbols=("PEP", "XOM", "KO"))
    from_ns, to_ns = span
    found = gather(Places(data=(file,), pairs=(SPEC,), from_ns=from_ns, to_ns=to_ns)).recording
    whole = load_market_data(file, symbols=LEGS, from_ns=from_ns, to_ns=to_ns)
    assert found is not None
    assert found.symbols == whole.symbols
    np.testing.assert_array_equal(found.ticks, whole.ticks)
    assert len(found.ticks)


def test_a_part_does_not_hold_the_whole_recording(tmp_path: Path) -> None:
    """Its ticks are its own: no view of a file that stays mapped."""
    file = steady_trades(tmp_path / "t.parquet")
    found = gather(Places(data=(file,), pairs=(SPEC,), to_ns=OPEN_NS + MINUTE_NS)).recording
    assert found is not None
    assert found.ticks.base is None


def test_corrections_of_another_file_are_among_them(tmp_path: Path) -> None:
    """Otherwise a topic that has them would differ from its recording."""
    file = trades(tmp_path / "t.parquet", [("KO", OPEN_NS + n, 60.0 + n, 100) for n in range(4)] + [("PEP", OPEN_NS + 9, 100.0, 5)])
    amended = events(
        tmp_path / "e.parquet",
        [
            ("KO", OPEN_NS + 14, "correction", {"trade_id": 2, "price": 61.5, "size": 7}),
            ("KO", OPEN_NS + 15, "cancel", {"trade_id": 3}),
            ("XOM", OPEN_NS + 16, "halt", {"reason": "T1"}),
        ],
    )
    found = gather(Places(data=(file, amended), pairs=(SPEC,))).recording
    assert found is not None
    rows = found.ticks[found.ticks["symbol"] == found.symbols.index(Symbol("KO"))]
    assert rows["kind"].tolist() == [KIND_TRADE] * 4 + [KIND_CORRECTION, KIND_CANCEL]
    assert rows["trade_id"].tolist() == [1, 2, 3, 4, 2, 3]


def test_a_twin_is_made_again_as_the_recycler_made_it(tmp_path: Path) -> None:
    """To the last digit, whatever else the recycler replays, and only the session's if that was asked for."""
    file = steady_trades(tmp_path / "t.parquet", symbols=("XOM", "KO"))
    spec = replace(SPEC, pair=PairId("KO-KO.SYN"), leg_a=Symbol("KO"), leg_b=Symbol("KO.SYN"))
    for session_only in (False, True):
        sent = open_store((file,), StoreOptions(twins=(twin("KO=KO.SYN"),), bar_ns=300_000_000_000, session_only=session_only))
        places = Places(data=(file,), pairs=(spec,), twins=(twin("KO=KO.SYN"),), bar="5min", session_only=session_only)
        found = gather(places).recording
        assert found is not None
        assert found.symbols == ("KO", "KO.SYN")
        for name in found.symbols:
            mine, theirs = (
                ticks[ticks["symbol"] == names.index(name)]
                for ticks, names in ((found.ticks, found.symbols), (sent.data.ticks, sent.data.symbols))
            )
            assert len(mine)
            for column in ("event_ns", "trade_id", "price", "size"):
                np.testing.assert_array_equal(mine[column], theirs[column])


@pytest.mark.parametrize(
    ("changes", "message"),
    [({}, r"say what it follows with --twin SYMBOL=KO\.SYN"), ({"twins": (twin("KO=KO.SYN"),)}, "give it with --bar")],
)
def test_a_twin_that_cannot_be_made_again_is_named_with_what_is_missing(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = steady_trades(tmp_path / "t.parquet", symbols=("KO",))
    spec = replace(SPEC, pair=PairId("KO-KO.SYN"), leg_a=Symbol("KO"), leg_b=Symbol("KO.SYN"))
    with pytest.raises(BadSetting, match=message):
        gather(replace(Places(data=(file,), pairs=(spec,)), **changes))


def test_without_a_recording_there_is_none() -> None:
    assert gather(replace(Places(), pairs=(SPEC,))).recording is None
