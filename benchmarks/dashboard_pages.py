"""How long each page of the dashboard takes until it can be used, in Chromium, over the demo's data while a pair is open.

Usable: the title is there, the page's script has run to its end, all that it sent is drawn, and no task longer than 50 ms keeps the page
from answering; told by the page's own clock. Three looks, of each the median and the worst of some rounds; the goal is 2 s:

- known: a new session of a browser that was here before, hence has the code in its cache on disk. What a person sees each day.
- click: another page of such a session, by the navigation, at which nobody has looked in it yet.
- empty: a browser with an empty cache: its first visit ever.

Beside it the processor time that the browser took: on a machine that does other things, too, it says what was waited for.

    PYTHONPATH=tests .venv/bin/python benchmarks/dashboard_pages.py --rounds 5
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import psutil
from playwright.sync_api import Browser, BrowserContext, Page

from dashboard_browser import PAGES, TIMEOUT_MS, chromium, clocked, complaints, profile_of, usable_s
from dashboard_platform import trading_platform

GOAL_S = 2.0
_VISITS = 3  # Chromium keeps code made ready to run from the second visit on
_FROM = {name: "companies" if name == "research" else "research" for name in PAGES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How long it took, and the processor time of the browser's processes."""

    elapsed_s: float
    browser_s: float


def empty(browser: Browser, base: str, name: str) -> Look:
    """The first visit of a browser with nothing in its cache."""
    before = _chromium_s()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(TIMEOUT_MS)
    clocked(context)
    look = _opened(context.new_page(), base, name, before)
    context.close()
    return look


def known(context: BrowserContext, base: str, name: str) -> Look:
    """A new session of a browser that has been here."""
    before = _chromium_s()
    page = context.new_page()
    look = _opened(page, base, name, before)
    page.close()
    return look


def click(context: BrowserContext, base: str, name: str) -> Look:
    """From a page that has drawn no chart (or, to that one, from the companies') to this one."""
    page = context.new_page()
    _opened(page, base, _FROM[name], {})
    before = _chromium_s()
    page.get_by_role("link", name=name.capitalize() or "Overview").click()
    look = Look(elapsed_s=usable_s(page, name, pressed=True), browser_s=_grown_s(before))
    page.close()
    return look


def _opened(page: Page, base: str, name: str, before: dict[int, float]) -> Look:
    page.goto(f"{base}/{name}", wait_until="commit")
    look = Look(elapsed_s=usable_s(page, name), browser_s=_grown_s(before))
    if found := complaints(page):
        sys.exit(f"{name or 'overview'}: {found}")
    return look


def _grown_s(before: dict[int, float]) -> float:
    return sum(spent_s - before.get(pid, 0) for pid, spent_s in _chromium_s().items())


def _chromium_s() -> dict[int, float]:
    """Processor time so far of each of the browsers' processes that runs."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name().startswith("chrom"):
                times = process.cpu_times()
                found[process.pid] = float(times.user + times.system)
    return found


def measured(kind: str, rounds: int, look: Callable[[str], Look]) -> list[str]:
    """Print a line a page. The pages whose median is above the goal."""
    slow = []
    for name in PAGES:
        looks = [look(name) for _ in range(rounds)]
        times = [each.elapsed_s for each in looks]
        cells = (median(times), max(times), median(each.browser_s for each in looks), os.getloadavg()[0])
        print(f"{kind:<6}{name or 'overview':<11}{cells[0]:>10.2f}{cells[1]:>9.2f}{cells[2]:>16.2f}{cells[3]:>6.1f}", flush=True)
        if median(times) > GOAL_S:
            slow.append(f"{name or 'overview'} ({kind})")
    return slow


def main() -> None:
    """Measure and print. Exit code 1: a page's median is above the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with trading_platform() as platform, chromium() as browser, tempfile.TemporaryDirectory(prefix="tandem-chromium-") as folder:
        print(f"{'look':<6}{'page':<11}{'median, s':>10}{'worst, s':>9}{'browser CPU, s':>16}{'load':>6}  {os.cpu_count()} cores")
        slow = _profiled(browser, Path(folder), platform.dashboard, rounds)
        empty(browser, platform.dashboard, "")  # starts the browser's own processes
        slow += measured("empty", rounds, lambda name: empty(browser, platform.dashboard, name))
    if slow:
        sys.exit(f"above {GOAL_S:g} s: {', '.join(slow)}")


def _profiled(browser: Browser, folder: Path, base: str, rounds: int) -> list[str]:
    """A browser's visits, and the next day's looks after it was closed and started again."""
    with profile_of(browser, folder) as context:
        clocked(context)
        for _ in range(_VISITS):
            for name in PAGES:
                known(context, base, name)
    with profile_of(browser, folder) as context:
        clocked(context)
        known(context, base, "companies")  # starts the browser's own processes
        slow = measured("known", rounds, lambda name: known(context, base, name))
        return slow + measured("click", rounds, lambda name: click(context, base, name))


if __name__ == "__main__":
    main()
