"""Wire faults as unmodified clients of alpaca-py meet them, over real sockets."""

from pathlib import Path

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import OrderSide, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import GetOrdersRequest, MarketOrderRequest

from recorded_cases import steady_trades
from recycler_server import MarketListener, running, serving, wait_until

ORDER = MarketOrderRequest(symbol="KO", qty=10, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id="one")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """KO and PEP, a trade each ten seconds, for three minutes."""
    return steady_trades(tmp_path / "trades.parquet")


@pytest.mark.parametrize("rest", ["lost_502", "torn", "garbled", "empty"])
def test_an_order_whose_answer_is_lost_is_there_once(data: Path, rest: str) -> None:
    """The client is told nothing or nonsense; the order is found by its id, and the same id is refused the second time."""
    with serving(data) as server:
        client = server.trading()
        server.button("start")
        server.until(state="ended")
        server.post("/tandem/faults", {"rest": rest}).raise_for_status()
        with pytest.raises((APIError, requests.RequestException, ValueError)):
            client.submit_order(ORDER)
        assert client.get_order_by_client_id("one").symbol == "KO"
        with pytest.raises(APIError, match="client_order_id must be unique"):
            client.submit_order(ORDER)
        assert len(client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL))) == 1


def test_a_stream_with_doubles_strangers_and_disorder_still_brings_every_trade(data: Path) -> None:
    with serving(data, hold=True) as server:
        faults = [{"stream": name, "count": 3, "after": 1} for name in ("duplicate", "unknown", "shuffle")]
        server.post("/tandem/faults", faults).raise_for_status()
        listener = MarketListener(server, raw_data=True)

        async def remember(_: object) -> None:
            return

        listener.stream.subscribe_trades(remember, "KO", "PEP")
        with running(listener.stream):
            wait_until(lambda: listener.of("subscription"), "the subscription")
            server.button("start")
            wait_until(lambda: listener.has_ended, "the end of the stream")
        found = [(row["S"], row["i"]) for row in listener.of("t")]
        assert set(found) == {(symbol, number) for symbol in ("KO", "PEP") for number in range(1, 19)}
        assert len(found) >= len(set(found))
        assert server.get("/tandem/faults")["done"]
