"""The backtest against the platform: the same model and data through the real recycler, Kafka, Postgres and portfolio, and in one process.

Every order and every fill must be the same, ids included, and the profit equal to the cent. Forecasts are made by the forecaster's step.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from model_cases import bundle_of, pair_model
from replay_world import World, world
from tandem.adapters import topics
from tandem.adapters.calendar import session_grid
from tandem.adapters.codec import encode_forecasts
from tandem.adapters.control_log import publish_control
from tandem.adapters.fees_file import load_fees
from tandem.adapters.kafka_log import KafkaWriter, create_topics
from tandem.adapters.market_file import MarketData, load_market_data
from tandem.domain.control import PairSpec, RoutingPointer
from tandem.domain.forecasts import ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import Heartbeat, TickFrame
from tandem.domain.units import ns_of
from tandem.flow import accounting
from tandem.flow import sector as sector_flow
from tandem.flow.exchange_records import Rules
from tandem.flow.replay import schedule
from tandem.flow.sector import SectorModel
from tandem.portfolio.risk import load_risk
from tandem.quant.bundle import Bundle
from tandem.quant.network import neutral
from tandem.recycler.market import Market
from tandem.research.backtest_replay import Replay

CONFIG = Path(__file__).parents[2] / "config"
CONSUMER = SectorId("consumer")
LEGS = (("KO", "PEP"), ("CVX", "XOM"), ("BAC", "JPM"))
REF = ModelRef(name="pairs_trading_gru_garch_consumer_v1", version="1", digest="consumer-1")
_ORDERS = "SELECT client_order_id, pair, leg, symbol, side, qty, decided_ns FROM orders WHERE book = '{book}'"
_FILLS = "SELECT execution_id, client_order_id, pair, qty, price_usd, event_ns FROM fills WHERE book = '{book}'"
AHEAD_NS = 7 * 86_400 * 1_000_000_000


@pytest.fixture
def live(postgres_url: str, redis_url: str, kafka_servers: str, tmp_path: Path) -> Iterator[World]:
    """Servers ready, nothing running yet."""
    with world(postgres_url=postgres_url, redis_url=redis_url, kafka=kafka_servers, folder=tmp_path) as made:
        made.to_day = "2019-09-30"
        yield made


def specs() -> dict[PairId, PairSpec]:
    """The pairs, on the terms that declarations default to but an earlier entry, so that many trades are made."""
    return {
        PairId(f"{a}-{b}"): PairSpec(
            pair=PairId(f"{a}-{b}"), sector=CONSUMER, leg_a=Symbol(a), leg_b=Symbol(b), entry_z=0.8, exit_z=0.2, probability_min=0.0
        )
        for a, b in LEGS
    }


def midnight_ns(day: str) -> int:
    return ns_of(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("America/New_York")))


def bundle(data: MarketData, from_ns: int) -> Bundle:
    """A model of the three pairs as the year before saw them."""
    times = data.ticks["event_ns"]
    models = []
    for a, b in LEGS:
        logs = []
        for name in (a, b):
            rows = (data.ticks["symbol"] == data.symbols.index(name)) & (times < from_ns) & (times > from_ns - 365 * 86_400 * 10**9)
            logs.append(np.log(data.ticks["price"][rows]))
        beta = float(np.polyfit(logs[1], logs[0], 1)[0])
        spread = logs[0] - beta * logs[1]
        pair = replace(pair_model(a, b, beta=beta), mu=float(spread.mean()), spread_sd=float(spread.std()), half_life_bars=10.0)
        models.append(replace(pair, start=replace(pair.start, spread=float(spread[-1] - spread.mean()))))
    return bundle_of(*models, trained_to_ns=int(times[times < from_ns][-1]) + 1_000_000)


class Forecaster:
    """The forecaster's own step; keeps what it said."""

    version = "1"

    def __init__(self, model: SectorModel) -> None:
        self.said: list[ForecastBatch] = []
        self._model, self._state = model, sector_flow.initial_sector(model)

    def step(self, event: TickFrame | Heartbeat) -> tuple[ForecastBatch, ...]:
        self._state, batches = sector_flow.step(self._model, self._state, event)
        self.said += batches
        return batches


def backtest(live: World, replay_id: str) -> tuple[Replay, Forecaster]:
    """The same days in this process."""
    from_ns, to_ns = midnight_ns(live.from_day), midnight_ns("2019-10-01")
    data = load_market_data(live.data)
    grid = session_grid("1d", int(data.ticks["event_ns"][0]), int(data.ticks["event_ns"][-1]) + AHEAD_NS)
    steps = schedule(data.ticks["event_ns"], grid, from_ns=from_ns, to_ns=to_ns)
    capital_usd = Decimal(live.capital_usd)
    market = Market(data, grid, Rules(fees=load_fees(CONFIG / "fees.yaml")), capital_usd)
    market.begin(replay_id, place=steps.start, now_ns=int(data.ticks["event_ns"][steps.start]) - 1)
    risk = load_risk(CONFIG)
    replay = Replay(market, CONSUMER, risk, capital_usd=capital_usd, bars_per_day=1.0, borrow_bps_year=Decimal(0))
    forecaster = Forecaster(SectorModel(bundle=bundle(data, from_ns), ref=REF, network=neutral, grid=grid))
    replay.begin_window(1, specs(), forecaster)
    for number in range(len(steps)):
        replay.play(steps.step(number), nights=0)
    replay.end()
    return replay, forecaster


def declare(live: World) -> None:
    """The pairs, and the version to act on."""
    create_topics(live.kafka, [])
    writer = KafkaWriter(live.kafka, "test")
    publish_control(writer, *specs().values(), RoutingPointer(sector=CONSUMER, version="1", digest=REF.digest, epoch=1))
    writer.close()


def publish(live: World, forecaster: Forecaster) -> None:
    """Every forecast that the backtest saw. After the portfolio's start: what is older than a replay is not of it."""
    writer = KafkaWriter(live.kafka, "test")
    for batch in forecaster.said:
        headers = {topics.HEADER_PUBLISHED: time.time_ns().to_bytes(8, "little")}
        writer.publish(topics.FORECASTS, encode_forecasts(batch), key=batch.sector.encode(), headers=headers)
    writer.close()


def test_the_backtest_makes_the_orders_fills_and_profit_of_the_platform(live: World) -> None:
    declare(live)
    live.start_recycler("--label", "backtest")
    live.start_portfolio()
    replay, forecaster = backtest(live, live.replay()["replay_id"])
    publish(live, forecaster)
    live.begin()
    live.finish()

    book = live.rows("SELECT max(book) FROM books")[0][0]
    store = replay.store
    orders = {
        o.client_order_id: (o.client_order_id, o.pair, o.leg, o.symbol, o.side.value, o.qty, o.decided_ns) for o in store.orders.values()
    }
    fills = {f.execution_id: (f.execution_id, f.client_order_id, p, f.qty, f.price_usd, f.event_ns) for f, p in store.fills.values()}
    assert {row[0]: row for row in live.rows(_ORDERS.format(book=book))} == orders
    assert {row[0]: row for row in live.rows(_FILLS.format(book=book))} == fills
    assert len(fills) > 20, "a comparison of nothing proves nothing"
    pnl = live.ask("pnl")
    marks = replay.marks()
    assert Decimal(pnl["equity_usd"]) == accounting.equity_usd(replay.books.book, marks)
    assert Decimal(pnl["fees_usd"]) == sum(replay.books.book.fees_usd.values())
    for row in pnl["pairs"]:
        assert Decimal(row["total_usd"]) == accounting.profit(replay.books.book, marks, row["pair"]).total_usd
    assert not math.isclose(float(pnl["total_usd"]), 0.0)
