"""The dashboard in Debian's Chromium: a browser, its pages, and what is looked at on each. For tests and benchmarks/dashboard_pages.py."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from cluster import packages
from tandem.domain.errors import Permanent

PAGES = {
    "": "Data source: RECYCLED",
    "pairs": "Pairs",
    "portfolio": "Portfolio",
    "models": "Models",
    "data": "Data",
    "research": "Research",
    "companies": "Companies",
}
TIMEOUT_MS = 120_000
Looks = tuple[int, Literal["light", "dark"]]  # width in pixels, and what the reader's system asks for
LOOKS: tuple[Looks, ...] = ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark"))
_LOOK_MS = 100
_QUIET_MS = 500
_DRAWN = """() => {
  const main = document.querySelector('[data-testid=stMain]'), text = main.innerText;
  const same = text === window.lastLook;
  window.lastLook = text;
  return same && !main.querySelector('[data-testid=stSkeleton]')
    && document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning';
}"""
# A page's own clock. Milliseconds since 1970, as time.time() counts, of the newest change of the page, of the end of the newest task that
# kept it from answering, and of the newest click.
_CLOCK = """(() => {
  const clock = window.tandemClock = {changed: 0, busy: 0, pressed: 0};
  const options = {subtree: true, childList: true, characterData: true, attributes: true};
  new MutationObserver(() => { clock.changed = performance.timeOrigin + performance.now(); }).observe(document, options);
  new PerformanceObserver(list => list.getEntries().forEach(task => {
    clock.busy = performance.timeOrigin + task.startTime + task.duration;
  })).observe({type: 'longtask', buffered: true});
  addEventListener('click', event => { clock.pressed = performance.timeOrigin + event.timeStamp; }, true);
})()"""
# When the page could be used, once nothing has happened for a while: its title, the script at its end, charts and tables drawn.
_USABLE = f"""title => {{
  const clock = window.tandemClock, main = document.querySelector('[data-testid=stMain]');
  const all = of => main ? [...main.querySelectorAll(of)] : [];
  const drawn = (box, of) => all(`[data-testid=${{box}}]`).every(each => each.querySelector(of));
  const done = all('h1, h2').some(each => each.textContent.trim() === title) && !all('[data-testid=stSkeleton]').length
    && document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'
    && drawn('stPlotlyChart', '.main-svg') && drawn('stDataFrame', 'canvas');
  const at = Math.max(clock.changed, clock.busy);
  const quiet = performance.timeOrigin + performance.now() - at > {_QUIET_MS};
  return done && quiet ? {{at, pressed: clock.pressed, begun: performance.timeOrigin}} : null;
}}"""
_METRICS = """() => [...document.querySelectorAll('[data-testid=stMetric]')].map(box =>
  ['Label', 'Value'].map(part => box.querySelector(`[data-testid=stMetric${part}]`).innerText.trim()))"""

_CUT_OFF = "boxes => boxes.filter(box => box.clientWidth && box.scrollWidth > box.clientWidth + 1).map(box => box.innerText)"
_ROWS = """box => {
  const names = [...box.querySelectorAll('th')].map(cell => cell.innerText);
  return [...box.querySelectorAll('tbody tr')].map(row =>
    Object.fromEntries([...row.querySelectorAll('td')].map((cell, i) => [names[i], cell.innerText])));
}"""
_SORTED_ROWS = """box => {
  const texts = (part, role) => [...part.querySelectorAll(`[role=${role}]`)].map(cell => cell.textContent);
  const names = texts(box, 'columnheader');
  return [...box.querySelectorAll('tbody tr')].map(row => Object.fromEntries(texts(row, 'gridcell').map((text, i) => [names[i], text])));
}"""
_PICTURES = "DASHBOARD_PICTURES"  # a folder, where a person wants to look at what the tests see
_HEIGHT_PX_MAX = 6_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; root on Debian gets it installed. Raises Permanent, saying what to install."""
    if shutil.which("chromium") is None and os.geteuid() != 0:
        raise Permanent("Chromium is missing: `apt-get install chromium`")
    packages.install({"chromium": "chromium"})
    expect.set_options(timeout=TIMEOUT_MS)  # instead of 5 s, which a busy machine takes for a page
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def profile_of(browser: Browser, folder: Path) -> Iterator[BrowserContext]:
    """A browser that keeps in this folder what it has fetched, as a person's does, hence also what of it was made ready to run."""
    context = browser.browser_type.launch_persistent_context(
        folder, executable_path=shutil.which("chromium"), args=["--no-sandbox"], viewport={"width": 1280, "height": 900}
    )
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


@contextmanager
def screen(browser: Browser, looks: Looks = (1280, "light")) -> Iterator[Page]:
    """A page, hence a session, of its own."""
    width, scheme = looks
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(TIMEOUT_MS)
    yield page
    page.close()


def opened(page: Page, base: str, name: str) -> None:
    """Go to a page and wait until it can be used: its title is there, and the script has run to its end."""
    page.goto(f"{base}/{name}")
    expect(page.get_by_role("heading", name=PAGES[name], exact=True)).to_be_visible(timeout=TIMEOUT_MS)
    settled(page)


def settled(page: Page) -> None:
    """Wait until the script has run to its end and what it sent is drawn: nothing is grey, and the text is the same at two looks."""
    page.evaluate("() => { delete window.lastLook; }")  # that of another wait, maybe from before a click
    expect(page.locator("[data-testid=stApp]")).to_have_attribute("data-test-script-state", "notRunning", timeout=TIMEOUT_MS)
    page.wait_for_function(_DRAWN, polling=_LOOK_MS, timeout=TIMEOUT_MS)


def clocked(context: BrowserContext) -> None:
    """Give each page that is opened from now on a clock of its own: Playwright's looks are up to a second apart."""
    context.add_init_script(_CLOCK)


def usable_s(page: Page, name: str, *, pressed: bool = False) -> float:
    """Seconds from the navigation, or from the click that led here, until the page of a clocked context could be used.

    Then its title was there, its script at its end, all that it sent drawn, and no task longer than 50 ms kept it from answering.
    """
    moments = page.wait_for_function(_USABLE, arg=PAGES[name], polling=_LOOK_MS, timeout=TIMEOUT_MS).json_value()
    return float(moments["at"] - moments["pressed" if pressed else "begun"]) / 1_000


def complaints(page: Page) -> list[str]:
    """What is wrong with a page: errors, warnings, breadth above the screen's."""
    found = page.locator("[data-testid=stAlertContentError], [data-testid=stAlertContentWarning]").all_inner_texts()
    found += page.locator("[data-testid=stException]").all_inner_texts()
    if not page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"):
        found.append("the page is wider than the screen")
    return found


def metrics(page: Page) -> dict[str, str]:
    """The large numbers of a page by their labels."""
    return dict(page.evaluate(_METRICS))


def rows(page: Page, *columns: str) -> list[dict[str, str]]:
    """What the page's only table with these columns shows: a dict a row."""
    found = page.get_by_test_id("stHtml").locator("table")
    for name in columns:
        found = found.filter(has=page.get_by_role("columnheader", name=name, exact=True))
    expect(found).to_have_count(1)
    shown: list[dict[str, str]] = found.evaluate(_ROWS)
    return shown


def sorted_rows(page: Page) -> list[dict[str, str]]:
    """What the page's only table that sorts and searches has in view: a dict a row."""
    box = page.get_by_test_id("stDataFrame")
    box.scroll_into_view_if_needed()
    box.locator("[role=gridcell]").first.wait_for(state="attached")
    shown: list[dict[str, str]] = box.evaluate(_SORTED_ROWS)
    return shown


def pictured(page: Page, name: str) -> None:
    """The whole page as a picture, where the environment names a folder for them; its name tells width and colours, too."""
    folder, size = os.environ.get(_PICTURES), page.viewport_size
    if not folder or size is None:
        return
    scheme = "dark" if page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches") else "light"
    height = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": min(_HEIGHT_PX_MAX, max(size["height"], height))})
    settled(page)
    page.screenshot(path=Path(folder) / f"{name}-{size['width']}-{scheme}.png")
    page.set_viewport_size(size)


def cut_off(page: Page) -> list[str]:
    """Large numbers that their place is too narrow for."""
    found: list[str] = page.get_by_test_id("stMetricValue").locator("div").evaluate_all(_CUT_OFF)
    return found


def usd(value: object) -> str:
    """Money as the dashboard is to write it, by the test's own rule."""
    amount = round(Decimal(str(value)), 2)
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def asked(url: str, **query: Any) -> Any:
    """An API's own answer."""
    answer = httpx.get(url, params=query, headers={"APCA-API-KEY-ID": "any", "APCA-API-SECRET-KEY": "any"}, timeout=20, trust_env=False)
    assert answer.is_success, answer.text
    return answer.json()
