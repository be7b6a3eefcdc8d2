"""What is sent of Streamlit's own files, over the installed ones."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from tandem.dashboard.bundles import STATIC, Bundles
from tandem.dashboard.main import application
from tandem.dashboard.plotly_code import trimmed

_CHART = next(STATIC.glob("static/js/PlotlyChart.*.js"))
_TABLE = next(STATIC.glob("static/js/arrowFormatUtils.*.js"))

Ask = Callable[..., httpx.Response]


def _asking(static: Path = STATIC) -> Ask:
    """Asks a server that answers everything in words, behind what is tested."""
    app = Starlette(routes=[Route("/{path:path}", lambda request: PlainTextResponse(f"streamlit's {request.url.path}"))])
    return _to(Bundles(app, static))


def _to(app: ASGIApp) -> Ask:
    async def asked(path: str, method: str, headers: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dashboard") as client:
            return await client.request(method, path, headers=headers)

    return lambda path, method="GET", **headers: asyncio.run(asked(path, method, headers))


@pytest.fixture(scope="module")
def ask() -> Ask:
    """Over the installed files."""
    return _asking()


def test_code_is_sent_compressed_and_kept_for_ever(ask: Ask) -> None:
    """Its name tells its content, so that a browser need not ask for it again."""
    answer = ask(f"/static/js/{_TABLE.name}")
    assert answer.content == _TABLE.read_bytes()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert "immutable" in answer.headers["Cache-Control"]
    assert int(answer.headers["Content-Length"]) < _TABLE.stat().st_size / 2


def test_code_of_charts_is_sent_trimmed_and_not_kept_for_ever(ask: Ask) -> None:
    """Its name does not tell what was left out of it: a later release may draw other kinds of trace."""
    answer = ask(f"/static/js/{_CHART.name}")
    assert answer.content == trimmed(_CHART.read_bytes())
    assert answer.headers["Cache-Control"] == "public, max-age=604800"


def test_who_takes_no_compressed_code_gets_streamlits(ask: Ask) -> None:
    """And so does whoever asks for anything else."""
    path = f"/static/js/{_CHART.name}"
    assert ask(path, **{"Accept-Encoding": "identity"}).text == f"streamlit's {path}"
    assert ask(path, "POST").status_code == 405
    assert ask("/static/js/../../index.html").text.startswith("streamlit's")


def test_a_page_names_the_code_that_it_will_need(ask: Ask) -> None:
    """Files that are there and that are not in the page itself; a page without charts names none, and none names what sorts tables."""
    assert "Link" not in ask("/research").headers
    for page in ("/", "/pairs"):
        named = [link.split(">")[0].removeprefix("<./") for link in ask(page).headers["Link"].split(", ")]
        assert f"static/js/{_CHART.name}" in named
        assert all((STATIC / name).is_file() and name not in (STATIC / "index.html").read_text() for name in named)
        assert not any("DataFrame" in name for name in named)


def test_the_dashboard_serves_streamlits_page_with_the_names() -> None:
    """The application itself: its page, the code that the page names, and a file that only Streamlit sends."""
    ask = _to(application())
    page = ask("/pairs")
    assert page.text == (STATIC / "index.html").read_text()
    for link in page.headers["Link"].split(", "):
        assert ask(link.split(">")[0].removeprefix("<.")).headers["Content-Encoding"] == "gzip"
    assert ask("/favicon.png").content == (STATIC / "favicon.png").read_bytes()


@pytest.mark.parametrize("manifest", ["", "[]", '{"index.html": {}}', '{"index.html": {"file": 1, "imports": ["gone"]}}'])
def test_files_that_are_laid_out_otherwise_are_left_to_streamlit(tmp_path: Path, manifest: str) -> None:
    """A page is drawn just the same, only later."""
    (tmp_path / "manifest.json").write_text(manifest)
    answer = _asking(tmp_path)("/pairs")
    assert answer.text == "streamlit's /pairs"
    assert not answer.headers.get("Link")
