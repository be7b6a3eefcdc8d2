"""The dashboard in a real browser over a platform that trades: every page, its numbers, the buttons that change something."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import exchange_calendars
import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser_actions import clicked, until
from dashboard_browser import (
    LOOKS,
    PAGES,
    chromium,
    complaints,
    cut_off,
    metrics,
    opened,
    pictured,
    rows,
    screen,
    settled,
    usd,
)
from dashboard_platform import TradingPlatform, trading_platform
from tandem.adapters.dashboard_views import DashboardViews, Stream
from tandem.adapters.model_history import ModelHistory
from tandem.domain.units import utc

pytestmark = pytest.mark.timeout(1_500)


@pytest.fixture(scope="module")
def platform() -> Iterator[TradingPlatform]:
    """The demo's, its market held while a pair is open."""
    with trading_platform() as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests; each has a page, hence a session, of its own."""
    with chromium() as made:
        yield made


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """Parametrized by its looks, or 1280 and light."""
    with screen(browser, getattr(request, "param", LOOKS[0])) as made:
        yield made


@pytest.mark.parametrize("page", LOOKS, indirect=True, ids="{0[0]}-{0[1]}".format)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_without_an_error(page: Page, platform: TradingPlatform, name: str) -> None:
    """At a desk and on a phone, light or dark as the reader's system asks; nothing is wider than the screen, no page breaks off."""
    opened(page, platform.dashboard, name)
    assert complaints(page) == []
    pictured(page, name or "overview")
    dark = page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
    ground = page.evaluate("() => getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    brightness = sum(int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(",")[:3]) / 3
    assert (brightness < 128) == dark, ground


def test_the_overview_tells_what_the_api_tells(page: Page, platform: TradingPlatform) -> None:
    """Equity, open pairs and fees of the ledger, the day's profit of the broker; nothing invented."""
    opened(page, platform.dashboard, "")
    summary, account = platform.api("/v1/summary"), platform.api("/v1/account")
    shown = metrics(page)
    assert shown["Equity, ledger"] == usd(summary["equity_usd"])
    assert cut_off(page) == []
    assert shown["Open pairs"] == str(summary["open_pairs"]) != "0"
    assert shown["Fees paid"] == usd(summary["fees_usd"])
    day = float(account["equity"]) - float(account["last_equity"])
    assert shown["Profit of the day, broker"].removeprefix("+") == usd(f"{day:.2f}")


def test_the_market_clock_is_that_of_the_replay(page: Page, platform: TradingPlatform) -> None:
    """Closed at the close of the newest daily bar; the next session is the exchange's own, by its public calendar."""
    opened(page, platform.dashboard, "")
    now = pd.Timestamp(platform.api("/v1/summary")["decided_ns"], tz="UTC")
    local, ahead = now.tz_convert("America/New_York"), exchange_calendars.get_calendar("XNYS").next_open(now)
    expect(page.get_by_text(f"Closed at {local:%Y-%m-%d %H:%M:%S} New York (time of the replay)")).to_be_visible()
    assert rows(page, "opens")[0]["opens"] == f"{ahead.tz_convert('America/New_York'):%Y-%m-%d %H:%M:%S}"


def test_the_portfolio_tells_what_the_api_tells(page: Page, platform: TradingPlatform) -> None:
    """Account, exposure, profit and what it is made of."""
    opened(page, platform.dashboard, "portfolio")
    account, risk, profit = platform.api("/v1/account"), platform.api("/v1/risk"), platform.api("/v1/pnl")
    shown = metrics(page)
    assert shown["cash"] == usd(account["cash"])
    assert shown["maintenance margin"] == usd(account["maintenance_margin"])
    assert shown["Gross exposure"] == usd(risk["gross_usd"]) != "$0.00"
    assert shown["Net exposure"].removeprefix("+") == usd(risk["net_usd"])
    assert shown["Drawdown"] == f"{risk['drawdown']:.2%}"
    assert shown["Since the start"].removeprefix("+") == usd(profit["total_usd"])
    held = platform.api("/v1/positions")
    positions = rows(page, "symbol", "unrealised")
    assert {(row["symbol"], row["value"]) for row in positions} == {(row["symbol"], usd(row["market_value"])) for row in held}
    orders, fills = rows(page, "decided", "status"), rows(page, "time", "symbol", "price")
    assert [row["status"] for row in orders] == [row["status"] for row in platform.api("/v1/orders", limit=100)][: len(orders)]
    told = [(row["symbol"], row["qty"], usd(row["price_usd"])) for row in platform.api("/v1/fills", limit=100)]
    assert [(row["symbol"], row["shares"], row["price"]) for row in fills] == told[: len(fills)] != []
    report = platform.api("/v1/attribution", by="pair")
    change = usd(report["equity_change_usd"])
    expect(page.get_by_text(f"Equity has changed by {'' if change.startswith('-') else '+'}{change}")).to_be_visible()
    clicked(page, page.get_by_text("model version", exact=True))
    settled(page)
    assert complaints(page) == []


def test_an_open_pair_is_chosen_and_drawn(page: Page, platform: TradingPlatform) -> None:
    """The list holds all pairs; the one that holds something comes first, with its state, spread, volatility and trade."""
    opened(page, platform.dashboard, "pairs")
    pairs = platform.api("/v1/pairs")
    held = next(pair for pair in pairs if pair["state"] != "flat")
    expect(page.get_by_role("heading", name=f"{held['pair']}: {held['state']}")).to_be_visible()
    for title in ("z in training standard deviations", "Standard deviation of the spread's next bar"):
        expect(page.get_by_text(title)).to_be_visible()
    expect(page.get_by_text(f"Model version {held['forecast']['version']}, digest {held['forecast']['digest'][:12]}")).to_be_visible()
    expect(page.get_by_text("new text")).to_have_count(0)
    clicked(page, page.get_by_role("combobox").first)
    expect(page.get_by_role("option").first).to_be_visible()
    assert page.get_by_role("option").all_inner_texts() == [pair["pair"] for pair in pairs]


def test_models_name_the_version_that_is_acted_on(page: Page, platform: TradingPlatform) -> None:
    """From the control topic; scores over time and calibration are drawn, and what was never done is said."""
    opened(page, platform.dashboard, "models")
    version = next(pair["forecast"]["version"] for pair in platform.api("/v1/pairs") if pair["sector"] == "consumer")
    assert metrics(page)["Acted on"] == f"version {version}"
    for title in ("Mean QLIKE by session (lower is better)", "Calibration of the variance forecast"):
        expect(page.get_by_text(title)).to_be_visible()
    expect(page.get_by_text("No rollout yet.")).to_be_visible()
    ranked = ModelHistory(platform.postgres).rankings(sector="consumer")
    assert [(row["rank"], row["pair"]) for row in rows(page, "rank")] == [(str(row["rank_position"]), row["pair"]) for row in ranked] != []


def test_the_buttons_move_the_replay(page: Page, platform: TradingPlatform) -> None:
    """One bar is one bar; resumed it runs at the speed that was set, paused it stands. Only buttons that make sense are there."""
    opened(page, platform.dashboard, "data")
    before = platform.status()
    assert metrics(page)["State"] == "paused"
    assert metrics(page)["Bars played"] == f"{before['bars']:,}"
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    clicked(page, page.get_by_role("button", name="One bar"))
    expect(page.get_by_text("One bar: done.")).to_be_visible()
    until(page, lambda: platform.paused_at(before["bars"] + 1))
    assert platform.status()["bars"] == before["bars"] + 1
    clicked(page, page.get_by_text("Change the speed"))
    clicked(page, page.get_by_role("button", name="Set the speed"))
    expect(page.get_by_text("real time: done.")).to_be_visible()
    assert platform.status()["speed"] == 1
    clicked(page, page.get_by_role("button", name="Resume"))
    expect(page.get_by_text("Resume: done.")).to_be_visible()
    until(page, lambda: platform.status()["state"] != "paused")
    clicked(page, page.get_by_role("button", name="Refresh"))
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    clicked(page, page.get_by_role("button", name="Pause"))
    expect(page.get_by_text("Pause: done.")).to_be_visible()
    until(page, lambda: platform.status()["state"] == "paused")
    platform.press("/speed", {"speed": "max"})  # as before, for the tests that follow


def test_the_data_page_has_no_gap_and_an_empty_dead_letter(page: Page, platform: TradingPlatform) -> None:
    """As the demo's own report demands; the newest bar and price stand in the table."""
    views, stream = DashboardViews(platform.postgres), Stream(source="recycled", replay_id=platform.status()["replay_id"])
    until(page, lambda: {row["to_ns"] for row in views.symbols(stream, timeframe="1d")} == {platform.status()["watermark_ns"]})
    opened(page, platform.dashboard, "data")
    expect(page.get_by_text("No symbol lacks one of the newest 1,000 bars.")).to_be_visible()
    expect(page.get_by_text("Empty: every record could be used.")).to_be_visible()
    expect(page.get_by_text("Trades and symbols that traded in each bar of 1d")).to_be_visible()
    stored = [(row["symbol"], str(row["bars"]), "0") for row in views.symbols(stream, timeframe="1d")]
    shown = [(row["symbol"], row["bars"], row["gaps"]) for row in rows(page, "symbol", "gaps")]
    assert shown == stored != []


def test_companies_without_a_file_say_how_to_load_them(page: Page, platform: TradingPlatform) -> None:
    """And the recorded prices are drawn all the same."""
    opened(page, platform.dashboard, "companies")
    expect(page.get_by_text("No company is loaded.")).to_be_visible()
    expect(page.get_by_text(str(Path("config").resolve() / "companies.csv"))).to_be_visible()
    expect(page.get_by_text("BAC, USD")).to_be_visible()


def test_the_kill_switch_closes_what_is_open(page: Page, platform: TradingPlatform) -> None:
    """Flattening is set with reason, confirmation and token; two bars later nothing is held any more, by the broker's own word."""
    opened(page, platform.dashboard, "")
    clicked(page, page.get_by_text("Change", exact=True))
    mode = page.locator("[data-testid=stSelectbox]").filter(has_text="Mode").get_by_role("combobox")
    until(page, lambda: _chosen(mode, "flattening"))
    page.get_by_label("Reason").fill("a drill")
    page.get_by_label("Token").fill(platform.token)
    clicked(page, page.get_by_text("Yes, change what is traded"))
    clicked(page, page.get_by_role("button", name="Set", exact=True))
    expect(page.get_by_text("global is set to flattening.")).to_be_visible()
    until(page, lambda: [state["mode"] for state in platform.api("/v1/trading-state")] == ["flattening"])
    for _ in range(2):
        bars = platform.status()["bars"]
        platform.press("/step", {"bars": 1})
        until(page, lambda: platform.paused_at(bars + 1))  # noqa: B023  (called before the next round)
    clicked(page, page.get_by_role("button", name="Refresh"))
    expect(page.get_by_text("Trading is limited.")).to_be_visible()
    settled(page)
    assert metrics(page)["Open pairs"] == "0"
    assert platform.api("/v1/positions") == []


def test_the_replay_begins_again_at_a_day(page: Page, platform: TradingPlatform) -> None:
    """Last in this file: from its first day, which is the one offered, with another account; the whole demo follows it there."""
    opened(page, platform.dashboard, "data")
    before = platform.status()
    clicked(page, page.get_by_text("Begin again at a day"))
    expect(page.get_by_text("in lockstep (portfolio)")).to_be_visible()
    begin = page.get_by_role("button", name="Begin there")
    clicked(page, begin)
    expect(page.get_by_text("Give a day, and confirm.")).to_be_visible()
    assert platform.status()["replay_id"] == before["replay_id"]
    clicked(page, page.get_by_text("Yes, leave this replay"))
    clicked(page, begin)
    expect(page.get_by_text("Replay from 2017-01-01: done.")).to_be_visible()
    until(page, lambda: platform.status()["replay_id"] != before["replay_id"])
    for bars in (1, 2, 3):  # the demo watches meanwhile, and ends for no moment at which the portfolio loads its account anew
        platform.press("/step", {"bars": 1})
        until(page, lambda: platform.paused_at(bars))  # noqa: B023  (called before the next round)
        assert platform.status()["bars"] == bars
    assert utc(platform.status()["watermark_ns"]).date() == date(2017, 1, 5)
    assert platform.api("/v1/summary")["open_pairs"] == 0
    clicked(page, page.get_by_role("button", name="Refresh"))
    expect(page.get_by_text(f"Replay {platform.status()['replay_id']}")).to_be_visible()
    settled(page)
    assert metrics(page)["Bars played"] == "3"


def _chosen(box: Locator, option: str) -> bool:
    """Whether a list shows this choice, after it was typed anew: a list of a section that has just been opened may close again at once.

    Then what was typed chooses nothing, and is still there until the list is left: only the option's whole text is a choice.
    """
    if not box.input_value().startswith(f"{option}: "):
        box.fill("")
        box.fill(option)
        box.press("Enter")
    return box.input_value().startswith(f"{option}: ")
