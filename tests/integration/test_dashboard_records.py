"""The dashboard over records that the demo does not make: a rollout that its gates have refused, and the tear sheet of a backtest.

Nothing else runs: no portfolio, so that a page also shows that it draws what can be asked.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from playwright.sync_api import Browser, Page, expect

from backtest_cases import made_market
from dashboard_browser import LOOKS, chromium, metrics, opened, pictured, rows, screen, settled, sorted_rows
from free_ports import free_port
from rollout_world import daily_market, ended, rollout_world, trained_on
from service_process import Service, running, wait_until
from tandem.adapters.companies_file import COMPANIES_FILE
from tandem.adapters.deadletter import park
from tandem.domain.errors import BadRecord
from tandem.domain.ids import SectorId

_ROOT = Path(__file__).parents[2]
_SAID = {"Pass": "passed", "Fail": "failed", "Inconclusive": "not decided"}
_PUBLIC = "https://mlflow.example.com/models"
_RATES = [{"pairs": number, "rows a second": number + 0.5} for number in range(20)]  # as a benchmark writes them


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    with chromium() as made:
        yield made


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """Parametrized by its looks."""
    with screen(browser, request.param) as made:
        yield made


@contextmanager
def _dashboard(folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Its address, once it answers. The portfolio's address is one where nobody is."""
    env = {"TANDEM_PORTFOLIO_URL": f"http://127.0.0.1:{free_port()}", **environ}
    with running("dashboard", free_port(), env, folder) as service:
        wait_until(lambda: _is_up(service), "the dashboard", service)
        yield service.url


def _is_up(service: Service) -> bool:
    try:
        return httpx.get(f"{service.url}/_stcore/health", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def refused(
    kafka_servers: str, postgres_url: str, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A dashboard's address, and the record of a rollout whose candidate is far worse than the version that is acted on."""
    servers = {"TANDEM_KAFKA_BOOTSTRAP_SERVERS": kafka_servers, "TANDEM_POSTGRES_URL": postgres_url, "MLFLOW_TRACKING_URI": mlflow_uri}
    panel, folder = daily_market(), tmp_path_factory.mktemp("rollout")
    with rollout_world(servers, SectorId("gallery"), trained_on(panel), panel, folder) as world:
        with world.runner() as runner:
            first = world.register(1.0)
            world.wait(lambda d: ended(d, first.version, "Succeeded"), "the first version's adoption", runner)
            world.publish(200)
            worse = world.register(2.5)
            with world.open_market():
                record = world.wait(lambda d: ended(d, worse.version, "Refused"), "the refusal", runner)
        park(world.market, "recorder", "tandem.ticks.gallery", BadRecord("frame_malformed", "no frame at all"), b"\x00never a frame")
        world.market.flush()
        (folder / "config" / COMPANIES_FILE).write_text("symbol,name,industry\nKO,The Coca-Cola Company,Beverages\n")
        with _dashboard(folder, {**world.env, "TANDEM_MLFLOW_PUBLIC_URL": _PUBLIC}) as url:
            yield url, dict(record)


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("page", LOOKS, indirect=True, ids="{0[0]}-{0[1]}".format)
def test_the_gates_of_a_rollout_stand_as_recorded(page: Page, refused: tuple[str, dict[str, Any]]) -> None:
    """Each with its verdict and its reason; why it ended, the history, both versions, and a link to MLflow that a reader can use."""
    url, record = refused
    opened(page, url, "models")
    shown = metrics(page)
    assert shown["Acted on"] == f"version {record['stable']['version']}"
    assert (shown["Candidate"], shown["Step"], shown["Outcome"]) == (f"version {record['candidate']['version']}", "Done", "Refused")
    expect(page.get_by_test_id("stAlertContentError")).to_have_text(f"{record['reason']}: {record['message']}")
    assert page.get_by_role("link", name="MLflow").get_attribute("href") == _PUBLIC
    versions, gates = rows(page, "version", "digest"), rows(page, "gate")
    assert [row["version"] for row in versions] == [record["candidate"]["version"], record["stable"]["version"]]
    assert [row["gate"] for row in gates] == [gate["name"] for gate in record["gates"]]
    assert [row["says"] for row in gates] == [_SAID[gate["verdict"]] for gate in record["gates"]]
    assert "failed" in {row["says"] for row in gates}
    assert [row["why"] for row in gates] == [gate["reason"] for gate in record["gates"]]
    (mark,) = {row["quarantined"] for row in versions} - {""}
    assert "qlike" in mark
    page.get_by_text("History", exact=True).click()
    settled(page)
    history = rows(page, "when", "step")
    assert [row["step"] for row in history] == [moment["step"] for moment in reversed(record["history"])]
    assert page.get_by_test_id("stException").count() == 0
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    pictured(page, "gates")


@pytest.mark.parametrize("page", [(1280, "light")], indirect=True, ids="{0[0]}-{0[1]}".format)
def test_the_dead_letter_is_listed(page: Page, refused: tuple[str, dict[str, Any]]) -> None:
    """Who parked what, why, and how it begins; where the portfolio is away, this part is there all the same."""
    opened(page, refused[0], "data")
    expect(page.get_by_text("1 letter: 1 frame_malformed")).to_be_visible()
    (letter,) = rows(page, "parked")
    assert (letter["by"], letter["from"], letter["reason"]) == ("recorder", "tandem.ticks.gallery", "frame_malformed")
    assert letter["detail"] == "no frame at all"
    pictured(page, "dead-letter")


@pytest.mark.parametrize("page", [(1280, "light"), (390, "dark")], indirect=True, ids="{0[0]}-{0[1]}".format)
def test_what_is_loaded_of_a_company_is_shown(page: Page, refused: tuple[str, dict[str, Any]]) -> None:
    """As the file says, also when nobody can be asked for its bars."""
    opened(page, refused[0], "companies")
    expect(page.get_by_role("combobox")).to_have_value("KO: The Coca-Cola Company")
    assert [tuple(row.values()) for row in rows(page, "fact")] == [("name", "The Coca-Cola Company"), ("industry", "Beverages")]
    pictured(page, "company")


@pytest.fixture(scope="module")
def research(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard over a folder that `tandem backtest` and a benchmark have written to, without any server."""
    folder = tmp_path_factory.mktemp("research")
    data, out = made_market(folder, bars=250).path, folder / "backtest"
    options = ("--policy", "distance", "--train-bars", "120", "--trade-bars", "60", "--pairs", "3", "--cost-bps", "2", "--borrow-bps", "0")
    argv = [sys.executable, "-m", "tandem.cli.main", "backtest", "--data", str(data), *options, "--out", str(out)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")}
    made = subprocess.run(argv, env=env, cwd=_ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, made.stderr
    (folder / "bench").mkdir()
    shutil.copy(out / "report.json", folder / "bench" / "backtest_of_a_made_market.json")
    (folder / "bench" / "rates.json").write_bytes(orjson.dumps(_RATES))
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    with _dashboard(folder, {"TANDEM_POSTGRES_URL": nowhere, "TANDEM_RESEARCH_DIR": str(folder)}) as url:
        yield url


@pytest.mark.parametrize("page", LOOKS, indirect=True, ids="{0[0]}-{0[1]}".format)
def test_the_newest_tear_sheet_is_shown(page: Page, research: str) -> None:
    """As the backtest wrote it, with its figures drawn, and beside it what a benchmark has written."""
    opened(page, research, "research")
    sheet = page.frame_locator("iframe")
    expect(sheet.get_by_role("heading", name="Backtest: distance")).to_be_visible()
    expect(sheet.locator(".main-svg").first).to_be_visible()
    expect(page.get_by_text("backtest of a made market")).to_be_visible()
    assert page.get_by_test_id("stException").count() == 0
    assert page.locator("[data-testid=stAlertContentError], [data-testid=stAlertContentWarning]").count() == 0
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    pictured(page, "tear-sheet")


@pytest.mark.parametrize("page", [(1280, "light"), (390, "dark")], indirect=True, ids="{0[0]}-{0[1]}".format)
def test_the_first_of_many_rows_are_text_and_all_of_them_are_a_click_away(page: Page, research: str) -> None:
    """The text has no code of its own to wait for; what sorts and searches shows the same rows."""
    wanted = [{"pairs": str(row["pairs"]), "rows a second": f"{row['rows a second']:g}"} for row in _RATES]
    opened(page, research, "research")
    shown = rows(page, "pairs", "rows a second")
    assert shown == wanted[: len(shown)] != wanted
    assert page.get_by_test_id("stDataFrame").count() == 0
    page.get_by_text(f"All {len(wanted)} rows, to sort and to search").click()
    settled(page)
    in_view = sorted_rows(page)
    assert in_view == wanted[: len(in_view)] != []
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
