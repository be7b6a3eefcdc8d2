"""What the page of models says of itself, without a server."""

from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard_tables import tables
from rollout_cases import state
from tandem.dashboard.screens.models import mlflow_address
from tandem.rollout.state import GateResult, Step, Verdict, to_document
from tandem.settings import Settings


@pytest.mark.parametrize(
    ("public", "tracking", "address"),
    [
        ("", "", ""),
        ("", "http://tandem-mlflow:5000", "http://tandem-mlflow:5000"),
        ("https://mlflow.example.com/ui", "http://tandem-mlflow:5000", "https://mlflow.example.com/ui"),
    ],
)
def test_the_link_to_mlflow_leads_where_a_reader_finds_it(public: str, tracking: str, address: str) -> None:
    """The public address where one is set, else the one that services use; none without either."""
    assert mlflow_address(Settings(mlflow_public_url=public, mlflow_tracking_uri=tracking)) == address


def _rollout(document: "dict[str, Any]", sector: str) -> None:
    """Run by AppTest as a script of its own: it sees nothing of this module."""
    from tandem.adapters.codec import encode_control
    from tandem.adapters.control_log import ControlTable
    from tandem.dashboard.rollout import rollout
    from tandem.dashboard.snapshot import Snapshot, sources_of
    from tandem.domain.control import RolloutRecord
    from tandem.ports import LogRecord
    from tandem.settings import Settings

    key, value = encode_control(RolloutRecord(sector=sector, document=document))
    table = ControlTable()
    table.apply(LogRecord(topic="control", partition=0, offset=0, timestamp_ms=0, key=key, value=value, headers={}))
    snapshot = Snapshot(sources_of(Settings(portfolio_url="http://127.0.0.1:1", postgres_url="postgresql://nobody@127.0.0.1:1/nothing")))
    snapshot.ask("control", lambda _: table)
    rollout(snapshot, sector)


@pytest.mark.parametrize(
    ("noted", "told"),
    [
        ({"wait": "12 of 30 bars of canary step 1"}, ["Waits for: 12 of 30 bars of canary step 1"]),
        ({"wait": ""}, []),
        ({}, []),  # written by an older version
    ],
)
def test_a_rollout_says_what_it_waits_for(noted: dict[str, Any], told: list[str]) -> None:
    """As it is noted beside the state; nothing is said where nothing is waited for."""
    document = to_document(state(Step.CANARY)) | noted
    page = AppTest.from_function(_rollout, default_timeout=120, args=(document, "consumer")).run()
    assert not page.exception
    assert [text.value for text in page.info] == told
    assert [metric.value for metric in page.metric][1:] == ["Canary", "Running"]


def test_a_gate_says_what_it_has_looked_at() -> None:
    """What it does not count or measure is not shown as nought."""
    gates = (
        GateResult(name="qlike", verdict=Verdict.FAIL, reason="worse than 0.1", bars=1_334, sessions=334, effect=0.8297, p_value=0.00451),
        GateResult(name="latency", verdict=Verdict.INCONCLUSIVE, reason="no latency measured"),
    )
    document = to_document(replace(state(Step.CANARY), gates=gates))
    page = AppTest.from_function(_rollout, default_timeout=120, args=(document, "consumer")).run()
    assert not page.exception
    gate_rows, *_ = tables(page)
    assert [tuple(row.values()) for row in gate_rows] == [
        ("qlike", "failed", "worse than 0.1", "1,334 bars, 334 sessions, QLIKE +0.8297, p = 0.0045 for the claim"),
        ("latency", "not decided", "no latency measured", ""),
    ]
