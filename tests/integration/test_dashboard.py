"""The dashboard in a real browser over a platform without a model: empty states, the refresh button, what the kill switch asks for."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from browser_actions import clicked, until
from dashboard_browser import PAGES, TIMEOUT_MS, chromium, complaints, metrics, opened, settled, usd
from free_ports import free_base
from platform_command import tandem
from tandem.adapters.config_files import load_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform that runs, without a model: the market is held."""

    dashboard: str
    portfolio: str
    token: str

    def api(self, path: str) -> object:
        """The portfolio's own answer."""
        answer = _got(self.portfolio + path)
        assert answer.is_success, answer.text
        return answer.json()


def _got(url: str) -> httpx.Response:
    """What a server of this machine answers, however busy that is."""
    return httpx.get(url, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Started and stopped by the commands that a user has."""
    home = Path(tempfile.mkdtemp(prefix="tandem-dashboard-"))
    home.chmod(0o711)
    up = tandem(home, "up", "--detach", "--port-base", str(free_base()), "--from", "2022-12-01")
    try:
        assert up.returncode == 0, up.stderr
        status = json.loads(tandem(home, "status", "--json").stdout)
        ports = {process["name"]: process["port"] for process in status["processes"]}
        yield Platform(
            dashboard=f"http://127.0.0.1:{ports['dashboard']}",
            portfolio=f"http://127.0.0.1:{ports['portfolio']}",
            token=status["environment"]["TANDEM_API_TOKEN"],
        )
    finally:
        down = tandem(home, "down")
        shutil.rmtree(home)
    assert down.returncode == 0, down.stderr


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a browser of its own."""
    with chromium() as browser:
        made = browser.new_page(viewport={"width": 1280, "height": 900})
        made.set_default_timeout(TIMEOUT_MS)
        yield made


def test_the_servers_first_reader_may_come_by_a_link(page: Page, platform: Platform) -> None:
    """First in this file: nobody has asked the server for anything yet, and the link leads to another page than the first."""
    opened(page, platform.dashboard, "pairs")
    assert complaints(page) == []


def test_a_page_names_its_code_which_is_sent_compressed(platform: Platform) -> None:
    """That of charts before the first chart, so that no reader waits for it twice."""
    named = _got(platform.dashboard).headers["Link"].split(">")[0].removeprefix("<.")
    answer = _got(platform.dashboard + named)
    assert "PlotlyChart" in named
    assert answer.is_success
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Cache-Control"] == "public, max-age=604800"  # of Plotly's code only a part, which its name does not tell
    entry = _got(platform.dashboard).text.partition("static/js/index.")[2].partition('"')[0]
    assert "immutable" in _got(f"{platform.dashboard}/static/js/index.{entry}").headers["Cache-Control"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_without_a_model_loads_without_an_error(page: Page, platform: Platform, name: str) -> None:
    """Nothing has been forecast or traded: what is missing is said, and nothing is drawn in its place."""
    opened(page, platform.dashboard, name)
    assert complaints(page) == []


def test_the_numbers_are_those_of_the_api(page: Page, platform: Platform) -> None:
    """Equity is the capital that nobody has touched; no pair is open."""
    opened(page, platform.dashboard, "")
    summary = platform.api("/v1/summary")
    assert isinstance(summary, dict)
    shown = metrics(page)
    assert shown["Equity, ledger"] == usd(summary["equity_usd"])
    assert shown["Open pairs"] == str(summary["open_pairs"]) == "0"


def test_every_declared_pair_is_shown(page: Page, platform: Platform) -> None:
    """By name, in the list that one is chosen from, with the thresholds as declared; without a forecast it is said how to get one."""
    opened(page, platform.dashboard, "pairs")
    pairs = platform.api("/v1/pairs")
    assert isinstance(pairs, list)
    declared = {spec.pair: (spec.entry_z, spec.exit_z, spec.stop_z, spec.probability_min) for spec in load_pairs(Path("config"))}
    for pair in pairs:
        assert tuple(pair["thresholds"][name] for name in ("entry_z", "exit_z", "stop_z", "probability_min")) == declared[pair["pair"]]
    clicked(page, page.get_by_role("combobox").first)
    expect(page.get_by_role("option", name="KO-PEP")).to_be_visible()
    assert page.get_by_role("option").all_inner_texts() == [pair["pair"] for pair in pairs]
    expect(page.get_by_text("No forecast of this pair yet.")).to_be_visible()


def test_the_refresh_button_asks_again_and_drops_the_portfolios_cache(page: Page, platform: Platform) -> None:
    """And nothing else does: a page looked at again shows the answers of before."""
    opened(page, platform.dashboard, "")
    before = platform.api("/v1/cache")
    taken = page.get_by_text("As of ").inner_text()
    clicked(page, page.get_by_role("link", name="Pairs"))
    expect(page.get_by_role("heading", name="Pairs", exact=True)).to_be_visible()
    settled(page)
    assert page.get_by_text("As of ").inner_text() == taken
    page.wait_for_function(
        "text => !new Date().toISOString().replace('T', ' ').startsWith(text.slice(6, 25))", arg=taken
    )  # the next second
    clicked(page, page.get_by_role("button", name="Refresh"))
    expect(page.get_by_text("As of ")).not_to_have_text(taken)
    after = platform.api("/v1/cache")
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert after["refreshes"] == before["refreshes"] + 1


def test_the_kill_switch_needs_reason_confirmation_and_token(page: Page, platform: Platform) -> None:
    """Without them nothing changes; a wrong token is refused in the portfolio's words; the right one sets the mode."""
    opened(page, platform.dashboard, "")
    clicked(page, page.get_by_text("Change", exact=True))
    press = page.get_by_role("button", name="Set", exact=True)
    clicked(page, press)
    expect(page.get_by_text("Give a reason and the token, and confirm.")).to_be_visible()
    settled(page)
    page.get_by_label("Reason").fill("a drill")
    page.get_by_label("Token").fill("wrong")
    clicked(page, page.get_by_text("Yes, change what is traded"))
    clicked(page, press)
    expect(page.get_by_text("a valid Bearer token is needed")).to_be_visible()
    assert platform.api("/v1/trading-state") == []
    settled(page)
    page.get_by_label("Token").fill(platform.token)
    clicked(page, press)
    expect(page.get_by_text("global is set to halted.")).to_be_visible()
    until(page, lambda: platform.api("/v1/trading-state") != [])  # it goes by Kafka, and a page asks once
    clicked(page, page.get_by_role("button", name="Refresh"))
    expect(page.get_by_text("Trading is limited.")).to_be_visible()
    (state,) = platform.api("/v1/trading-state")  # type: ignore[misc]
    assert (state["scope"], state["mode"], state["reason"]) == ("global", "halted", "a drill")
