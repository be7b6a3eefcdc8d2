"""Table, code and /metrics say the same."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest

from tandem.adapters import telemetry
from tandem.adapters.series import METRICS, SERVICES, series_of, served_by
from tandem.adapters.series_labels import LABELS

_SOURCES = Path(__file__).parents[3] / "services/tandem"
_SET = re.compile(r"(counter|gauge|histogram)\(\s*f?\"([a-z_{}]+)\"")


def test_code_sets_every_series_and_no_other() -> None:
    """A series of the table that nobody sets would lie at 0 for ever; a name that is computed counts for those it can become."""
    said = {(kind, name) for path in _SOURCES.rglob("*.py") for kind, name in _SET.findall(path.read_text())}
    patterns = {(kind, re.compile(re.sub(r"\{[a-z]+\}", "[a-z]+", name))) for kind, name in said}
    missing = [name for name, m in METRICS.items() if not any(kind == m.kind and p.fullmatch(name) for kind, p in patterns)]
    unknown = [p.pattern for kind, p in patterns if not any(kind == m.kind and p.fullmatch(name) for name, m in METRICS.items())]
    assert (missing, unknown) == ([], [])


async def _metrics(service: str) -> str:
    transport = httpx.ASGITransport(app=telemetry.health_app(service, lambda: "starting"))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return (await client.get("/metrics")).text


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_exports_its_series(service: str) -> None:
    """From the start, with kind and meaning as in the table; and it says what it is and whether it is ready."""
    page = asyncio.run(_metrics(service))
    for name in series_of(service):
        metric = METRICS[name]
        exported = f"tandem_{name}"
        assert f"# TYPE {exported} {metric.kind}\n" in page
        assert f"# HELP {exported} {metric.help}\n" in page
        for value in metric.known:
            assert re.search(rf'^{exported}{{{metric.labels[0]}="{value}"}} ', page, re.MULTILINE), f"{name} of {value} is not there yet"
    assert f'tandem_service_ready{{service="{service}"}} 0.0' in page
    assert f'service="{service}"}} 1.0' in "".join(re.findall(r"tandem_build_info\{.*\n", page))


@pytest.mark.parametrize("name", METRICS)
def test_every_label_is_bounded(name: str) -> None:
    """By a row of the table of labels; a series has a unit, and belongs to a service that there is."""
    metric = METRICS[name]
    assert set(metric.labels) <= set(LABELS)
    assert metric.unit
    assert set(served_by(name)) <= set(SERVICES)
    assert list(metric.buckets) == sorted(metric.buckets)
    assert not metric.known or len(metric.known) <= LABELS[metric.labels[0]].at_most, "known values are of the only label"


def test_no_bound_is_left_over() -> None:
    """A label without a series is out of date."""
    assert set(LABELS) == {label for metric in METRICS.values() for label in metric.labels}


@pytest.mark.parametrize(("lag_records", "newest_ms", "old"), [(0, 1, False), (5, 0, False), (5, 1, True)])
def test_lag_counts_only_where_newer_records_wait(lag_records: int, newest_ms: int, *, old: bool) -> None:
    """Caught up, the age of the last record says nothing; before any was read there is none."""
    assert (telemetry.lag_s(lag_records, newest_ms) > 0) is old
