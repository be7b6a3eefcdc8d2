"""The TradingPair manifest: what is taken, what each bad manifest is refused for, and what becomes of a good one."""

from decimal import Decimal
from typing import Any

import pytest

from tandem.domain.control import PairSpec
from tandem.rollout.resources import API_VERSION
from tandem.rollout.trading_pair import TradingPair, parse_trading_pair


def manifest(**spec: Any) -> dict[str, Any]:
    """A small valid manifest with some fields of its spec set."""
    return {
        "apiVersion": API_VERSION,
        "kind": "TradingPair",
        "metadata": {"name": "ko-pep"},
        "spec": {"sector": "consumer", "legs": ["KO", "PEP"]} | spec,
    }


def faults(document: dict[str, Any]) -> list[tuple[str, str]]:
    """(rule, path) of each fault."""
    parsed = parse_trading_pair(document)
    assert not isinstance(parsed, TradingPair), "the manifest was taken"
    return [(fault.rule, ".".join(map(str, fault.path))) for fault in parsed]


def spec_of(document: dict[str, Any]) -> PairSpec:
    """The record of a manifest that must be valid."""
    parsed = parse_trading_pair(document)
    assert isinstance(parsed, TradingPair), parsed
    return parsed.to_spec()


def test_the_least_manifest_takes_the_defaults_of_pair_spec() -> None:
    """Defaults are written down once, in the domain."""
    assert spec_of(manifest()) == PairSpec(pair="KO-PEP", sector="consumer", leg_a="KO", leg_b="PEP")  # type: ignore[arg-type]


def test_every_field_reaches_the_record() -> None:
    """No field of the manifest is dropped on the way."""
    spec = spec_of(
        manifest(
            signal={"entryZ": 3, "exitZ": 0.25, "stopZ": 5.5, "minReversionProbability": 0.7},
            risk={"notionalUsd": "2500.50", "maxHoldHalfLives": 2},
            suspend=True,
        )
    )
    assert (spec.entry_z, spec.exit_z, spec.stop_z, spec.probability_min) == (3.0, 0.25, 5.5, 0.7)
    assert (spec.notional_usd, spec.hold_half_lives_max, spec.suspended) == (Decimal("2500.50"), 2.0, True)


@pytest.mark.parametrize("amount", [10_000, 10_000.0, "10000", "10000.00"])
def test_money_may_be_a_number_or_decimal_text(amount: object) -> None:
    """All forms of one amount are the same amount."""
    assert spec_of(manifest(risk={"notionalUsd": amount})).notional_usd == Decimal(10_000)


def test_what_a_cluster_adds_is_taken_and_ignored() -> None:
    """The output of `kubectl get -o yaml` can be applied."""
    document = manifest() | {"status": {"phase": "Trading"}}
    document["metadata"] |= {
        "uid": "1",
        "resourceVersion": "7",
        "generation": 2,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [],
    }
    assert spec_of(document) == spec_of(manifest())


# What an API server never sees or takes otherwise (a null is dropped before validation); the others are in tests/manifest_table.py.
BAD: list[tuple[dict[str, Any], tuple[str, str]]] = [
    (manifest(signal={"entryZ": float("nan")}), ("finite_number", "spec.signal.entryZ")),
    (manifest(signal={"stopZ": float("inf")}), ("finite_number", "spec.signal.stopZ")),
    (manifest(signal=None), ("model_type", "spec.signal")),
    (manifest() | {"apiVersion": "tandem.trading/v1"}, ("literal_error", "apiVersion")),
    (manifest() | {"kind": "SectorModel"}, ("literal_error", "kind")),
    (manifest() | {"metadata": {"name": "KO_PEP"}}, ("string_pattern_mismatch", "metadata.name")),
    (manifest() | {"metadata": {"name": "ko-pep", "label": {}}}, ("extra_forbidden", "metadata.label")),
    (manifest() | {"extra": 1}, ("extra_forbidden", "extra")),
]


@pytest.mark.parametrize(("document", "expected"), BAD, ids=[f"{rule}-{path}" for _, (rule, path) in BAD])
def test_a_bad_manifest_is_refused_by_its_rule(document: dict[str, Any], expected: tuple[str, str]) -> None:
    """One fault, one refusal, at the place of the fault."""
    assert faults(document) == [expected]


def test_several_broken_rules_are_told_in_one_sentence() -> None:
    """The first gives the name."""
    parsed = parse_trading_pair(manifest(legs=["KO", "KO"], signal={"exitZ": 3.0}))
    assert isinstance(parsed, tuple)
    assert [(fault.rule, fault.message) for fault in parsed] == [
        ("legs_differ", "spec: the two legs must differ; signal.exitZ must be below signal.entryZ")
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"legs": ["KO"]}, "spec.legs: found 1 in the list, must be at least 2"),
        ({"risk": {"notionalUsd": 2500.5}}, 'spec.risk.notionalUsd: found 2500.5, must be a whole number or decimal text, e.g. "2500.50"'),
        ({"signal": {"exitZ": -1}}, "spec.signal.exitZ: found -1, must be greater than or equal to 0"),
        ({"deletionPolicy": "Keep"}, "spec.deletionPolicy: found 'Keep', must be 'Flatten', 'Stop' or 'Hold'"),
        ({"deletionTimeoutSeconds": 1.5}, "spec.deletionTimeoutSeconds: found 1.5, must be a whole number"),
    ],
)
def test_a_message_states_what_was_found_and_what_is_allowed(spec: dict[str, Any], message: str) -> None:
    """In one sentence."""
    parsed = parse_trading_pair(manifest(**spec))
    assert isinstance(parsed, tuple)
    assert [fault.message for fault in parsed] == [message]


def test_all_faults_of_a_manifest_are_told_at_once() -> None:
    """Nobody mends a file one error at a time."""
    found = faults({"kind": "TradingPair", "metadata": {"name": "x"}, "spec": {"legs": ["KO", 1], "suspend": 0}})
    assert {path for _, path in found} == {"apiVersion", "spec.sector", "spec.legs.1", "spec.suspend"}


def test_an_unknown_field_is_answered_with_the_known_ones() -> None:
    """The message states what is allowed."""
    parsed = parse_trading_pair(manifest(signal={"entry": 2.0}))
    assert isinstance(parsed, tuple)
    assert parsed[0].message == "spec.signal.entry: unknown field, allowed are entryZ, exitZ, stopZ, minReversionProbability"


def test_a_symbol_that_yaml_took_for_a_boolean_is_told_to_be_quoted() -> None:
    """ON, Y and NO are tickers, and booleans in kubectl's YAML."""
    parsed = parse_trading_pair(manifest(legs=[True, "KO"]))
    assert isinstance(parsed, tuple)
    assert "quote it" in parsed[0].message
