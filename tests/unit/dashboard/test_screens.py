"""Every page when nobody answers: it says what is away, and nothing is drawn in its place."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard_tables import tables
from free_ports import free_port
from recorded_cases import CONFIG
from tandem.dashboard.snapshot import Sources, sources_of
from tandem.settings import Settings

PAGES = ("overview", "pairs", "portfolio", "models", "data", "research", "companies")


def _page(name: str, sources: "Sources") -> None:
    """Run by AppTest as a script of its own: it sees nothing of this module."""
    from importlib import import_module

    from tandem.dashboard.snapshot import Snapshot

    getattr(import_module(f"tandem.dashboard.screens.{name}"), name)(Snapshot(sources))


@pytest.fixture
def nowhere(tmp_path: Path) -> Sources:
    """Addresses at which nobody listens, and settings of servers that are not set; the configuration is there."""
    port = free_port()
    settings = Settings(
        portfolio_url=f"http://127.0.0.1:{port}",
        postgres_url=f"postgresql://nobody@127.0.0.1:{port}/nothing",
        alpaca_api_url=f"http://127.0.0.1:{port}",
        config_dir=CONFIG,
        research_dir=tmp_path,
    )
    return sources_of(settings)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_drawn_when_nobody_answers(name: str, nowhere: Sources) -> None:
    """No exception and no number; what needs no server is there."""
    page = AppTest.from_function(_page, default_timeout=120, args=(name, nowhere)).run()
    assert not page.exception
    assert not page.error
    assert not page.metric
    told = [warning.value for warning in page.warning]
    assert bool(told) == (name != "research")
    assert all(text.startswith(("Not available now: ", "Not to be had: ")) for text in told)


def test_symbols_of_the_configuration_need_no_server(nowhere: Sources) -> None:
    """As `tandem symbols` shows them: which are in use, which are not, and the preset."""
    page = AppTest.from_function(_page, default_timeout=120, args=("data", nowhere)).run()
    (table,) = tables(page)
    assert list(table[0]) == ["sector", "active", "in use", "not in use", "pairs of the configuration"]
    by_sector = {row["sector"]: row for row in table}
    assert (by_sector["consumer"]["active"], by_sector["consumer"]["not in use"]) == ("yes", "")
    assert (by_sector["industrial"]["active"], by_sector["industrial"]["in use"]) == ("no", "")
    assert "KO-PEP" in by_sector["consumer"]["pairs of the configuration"]
    assert any("preset **all**" in text.value for text in page.markdown)


def test_what_is_loaded_of_companies_needs_no_server(nowhere: Sources, tmp_path: Path) -> None:
    """And that no bars are recorded is only said by who could ask."""
    (tmp_path / "companies.csv").write_text("symbol,name\nKO,The Coca-Cola Company\n")
    settings = nowhere.settings.model_copy(update={"config_dir": tmp_path})
    page = AppTest.from_function(_page, default_timeout=120, args=("companies", sources_of(settings))).run()
    assert page.selectbox[0].value == "KO"
    assert [list(row.values()) for (row,) in tables(page)] == [["name", "The Coca-Cola Company"]]
    assert not page.info
