"""Good and bad manifests of the four kinds, each bad one with the rule that refuses it and where.

The same table is held against the pydantic models (tests/unit/rollout/test_manifest_table.py) and against a real API server
(tests/integration/test_crds.py). Rules across fields are named alike in both; SERVER_WORDS gives the API server's words for the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tandem.rollout.resources import API_VERSION

Document = dict[str, Any]
DIGEST = "5d41402abc4b2a76b9719d911017c592ae1f0f0b6f3c4a6d9ad3f6b0f5a1c2d3"


def pair(**spec: Any) -> Document:
    """A small valid TradingPair with some fields of its spec set."""
    return _document("TradingPair", "ko-pep", {"sector": "consumer", "legs": ["KO", "PEP"]} | spec)


def sector_model(**spec: Any) -> Document:
    """A small valid SectorModel with some fields of its spec set."""
    return _document("SectorModel", "energy", {"sector": "energy"} | spec)


def account(*, name: str = "paper", **spec: Any) -> Document:
    """A small valid TradingAccount with some fields of its spec set."""
    return _document("TradingAccount", name, {"source": "recycled"} | spec)


def rollout(**spec: Any) -> Document:
    """A small valid ModelRollout with some fields of its spec set."""
    whole = {"sector": "energy", "model": "pairs_trading_gru_garch_energy_v1", "candidate": {"version": "8", "digest": DIGEST}}
    return _document("ModelRollout", "energy-v8", whole | spec)


def without(document: Document, name: str) -> Document:
    """The manifest without a field of its spec."""
    return document | {"spec": {key: value for key, value in document["spec"].items() if key != name}}


def _document(kind: str, name: str, spec: Mapping[str, Any]) -> Document:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A manifest that is refused. old: what stands in the cluster already, for rules about changes."""

    rule: str
    path: str  # dotted; of the mapping whose fields contradict each other for rules across fields, "" for the whole manifest
    manifest: Document
    old: Document | None = field(default=None)

    def __str__(self) -> str:
        return f"{self.manifest['kind']}-{self.rule}-{self.path}"


# What the API server says in the place of pydantic's name of a rule.
SERVER_WORDS: Mapping[str, Sequence[str]] = {
    "missing": ("Required value",),
    "extra_forbidden": ("unknown field",),
    "string_type": ("must be of type string",),
    "int_type": ("must be of type integer",),
    "float_type": ("must be of type number",),
    "bool_type": ("must be of type boolean",),
    "list_type": ("must be of type array",),
    "dict_type": ("must be of type object",),
    "model_type": ("must be of type object",),
    "too_short": ("should have at least",),
    "too_long": ("must have at most",),
    "string_too_long": ("may not be more than", "Too long"),
    "string_pattern_mismatch": ("should match",),
    "value_error": ("should match", "Too long"),  # of a sector or symbol
    "money": ("should match", "must be of type integer,string"),
    "greater_than": ("should be greater than", "greater_than: must be above 0"),
    "greater_than_equal": ("should be greater than or equal to",),
    "less_than": ("should be less than",),
    "less_than_equal": ("should be less than or equal to",),
    "literal_error": ("Unsupported value",),
}

BAD_PAIRS: tuple[Bad, ...] = (
    Bad(rule="legs_differ", path="spec", manifest=pair(legs=["KO", "KO"])),
    Bad(rule="exit_below_entry", path="spec", manifest=pair(signal={"exitZ": 2.0})),
    Bad(rule="exit_below_entry", path="spec", manifest=pair(signal={"entryZ": 1, "exitZ": 1})),
    Bad(rule="entry_below_stop", path="spec", manifest=pair(signal={"entryZ": 4.0})),
    Bad(rule="legs_immutable", path="spec", old=pair(), manifest=pair(legs=["KO", "MDLZ"])),
    Bad(rule="legs_immutable", path="spec", old=pair(), manifest=pair(legs=["PEP", "KO"])),
    Bad(rule="missing", path="spec.legs", manifest=without(pair(), "legs")),
    Bad(rule="missing", path="spec.sector", manifest=without(pair(), "sector")),
    Bad(rule="too_short", path="spec.legs", manifest=pair(legs=["KO"])),
    Bad(rule="too_long", path="spec.legs", manifest=pair(legs=["KO", "PEP", "PG"])),
    Bad(rule="value_error", path="spec.legs.0", manifest=pair(legs=["ko", "PEP"])),
    Bad(rule="value_error", path="spec.legs.1", manifest=pair(legs=["KO", "PEP\n"])),
    Bad(rule="string_type", path="spec.legs.1", manifest=pair(legs=["KO", True])),
    Bad(rule="list_type", path="spec.legs", manifest=pair(legs="KO-PEP")),
    Bad(rule="value_error", path="spec.sector", manifest=pair(sector="Consumer")),
    Bad(rule="extra_forbidden", path="spec.signal.entryz", manifest=pair(signal={"entryz": 2.0})),
    Bad(rule="extra_forbidden", path="spec.signal.entry_z", manifest=pair(signal={"entry_z": 2.0})),
    Bad(rule="extra_forbidden", path="spec.notionalUsd", manifest=pair(notionalUsd="1")),
    Bad(rule="float_type", path="spec.signal.entryZ", manifest=pair(signal={"entryZ": "2"})),
    Bad(rule="float_type", path="spec.signal.entryZ", manifest=pair(signal={"entryZ": True})),
    Bad(rule="greater_than", path="spec.signal.stopZ", manifest=pair(signal={"stopZ": 0})),
    Bad(rule="greater_than_equal", path="spec.signal.exitZ", manifest=pair(signal={"exitZ": -0.1})),
    Bad(rule="less_than", path="spec.signal.minReversionProbability", manifest=pair(signal={"minReversionProbability": 1})),
    Bad(rule="model_type", path="spec.signal", manifest=pair(signal=[])),
    Bad(rule="greater_than", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": 0})),
    Bad(rule="greater_than", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": "0.00"})),
    Bad(rule="greater_than", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": -5})),
    Bad(rule="money", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": "-5"})),
    Bad(rule="money", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": "much"})),
    Bad(rule="money", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": "1_000"})),
    Bad(rule="money", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": "1e4"})),
    Bad(rule="money", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": "Infinity"})),
    Bad(rule="money", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": 2500.5})),
    Bad(rule="less_than_equal", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": 10**12})),
    Bad(rule="money", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": str(10**12)})),
    Bad(rule="money", path="spec.risk.notionalUsd", manifest=pair(risk={"notionalUsd": True})),
    Bad(rule="greater_than", path="spec.risk.maxHoldHalfLives", manifest=pair(risk={"maxHoldHalfLives": 0})),
    Bad(rule="bool_type", path="spec.suspend", manifest=pair(suspend="no")),
    Bad(rule="literal_error", path="spec.deletionPolicy", manifest=pair(deletionPolicy="flatten")),
    Bad(rule="int_type", path="spec.deletionTimeoutSeconds", manifest=pair(deletionTimeoutSeconds=1.5)),
    Bad(rule="greater_than_equal", path="spec.deletionTimeoutSeconds", manifest=pair(deletionTimeoutSeconds=-1)),
    Bad(rule="less_than_equal", path="spec.deletionTimeoutSeconds", manifest=pair(deletionTimeoutSeconds=86_401)),
)

_CANARY = "spec.rollout.canary"
BAD_SECTOR_MODELS: tuple[Bad, ...] = (
    Bad(rule="sector_immutable", path="spec", old=sector_model(), manifest=sector_model(sector="financial")),
    Bad(rule="sector_not_versioned", path="spec", manifest=sector_model(sector="energy-v7")),
    Bad(rule="alias_xor_version", path="spec.model", manifest=sector_model(model={"alias": "candidate", "version": "3"})),
    Bad(rule="alias_not_reserved", path="spec.model", manifest=sector_model(model={"alias": "latest"})),
    Bad(rule="alias_not_reserved", path="spec.model", manifest=sector_model(model={"alias": "v12"})),
    Bad(rule="string_pattern_mismatch", path="spec.model.alias", manifest=sector_model(model={"alias": "a b"})),
    Bad(rule="string_pattern_mismatch", path="spec.model.alias", manifest=sector_model(model={"alias": ""})),
    Bad(rule="string_too_long", path="spec.model.alias", manifest=sector_model(model={"alias": "a" * 256})),
    Bad(rule="string_pattern_mismatch", path="spec.model.version", manifest=sector_model(model={"version": "0"})),
    Bad(rule="string_pattern_mismatch", path="spec.model.version", manifest=sector_model(model={"version": "v3"})),
    Bad(rule="string_type", path="spec.model.version", manifest=sector_model(model={"version": 3})),
    Bad(rule="extra_forbidden", path="spec.model.name", manifest=sector_model(model={"name": "x"})),
    Bad(rule="missing", path="spec.sector", manifest=without(sector_model(), "sector")),
    Bad(rule="value_error", path="spec.sector", manifest=sector_model(sector="a" * 41)),
    Bad(rule="less_than_equal", path="spec.replicas", manifest=sector_model(replicas=13)),
    Bad(rule="greater_than_equal", path="spec.replicas", manifest=sector_model(replicas=-1)),
    Bad(rule="int_type", path="spec.replicas", manifest=sector_model(replicas="2")),
    Bad(rule="min_within_max", path="spec.autoscaling", manifest=sector_model(autoscaling={"minReplicas": 3})),
    Bad(rule="less_than_equal", path="spec.autoscaling.maxReplicas", manifest=sector_model(autoscaling={"maxReplicas": 13})),
    Bad(rule="greater_than_equal", path="spec.autoscaling.minReplicas", manifest=sector_model(autoscaling={"minReplicas": 0})),
    Bad(rule="literal_error", path="spec.autoscaling.kind", manifest=sector_model(autoscaling={"kind": "VPA"})),
    Bad(
        rule="string_pattern_mismatch", path="spec.resources.limits.memory", manifest=sector_model(resources={"limits": {"memory": "1 GB"}})
    ),
    Bad(rule="dict_type", path="spec.resources.limits", manifest=sector_model(resources={"limits": "1Gi"})),
    Bad(rule="bars_min_within_max", path="spec.rollout.gate", manifest=sector_model(rollout={"gate": {"barsMin": 5000}})),
    Bad(rule="literal_error", path="spec.rollout.gate.claim", manifest=sector_model(rollout={"gate": {"claim": "non_inferior"}})),
    Bad(rule="greater_than", path="spec.rollout.gate.level", manifest=sector_model(rollout={"gate": {"level": 0}})),
    Bad(rule="less_than", path="spec.rollout.gate.level", manifest=sector_model(rollout={"gate": {"level": 0.5}})),
    Bad(rule="extra_forbidden", path="spec.rollout.gate.margin", manifest=sector_model(rollout={"gate": {"margin": 0.1}})),
    Bad(
        rule="less_than_equal",
        path="spec.rollout.operations.withheldShareMax",
        manifest=sector_model(rollout={"operations": {"withheldShareMax": 1.5}}),
    ),
    Bad(
        rule="greater_than",
        path="spec.rollout.operations.latencyP99SecondsMax",
        manifest=sector_model(rollout={"operations": {"latencyP99SecondsMax": 0}}),
    ),
    Bad(
        rule="canary_shares_grow",
        path="spec.rollout",
        manifest=sector_model(rollout={"canary": [{"pairsShare": 0.5}, {"pairsShare": 0.25}]}),
    ),
    Bad(
        rule="canary_shares_grow",
        path="spec.rollout",
        manifest=sector_model(rollout={"canary": [{"pairsShare": 0.5}, {"pairsShare": 0.5}]}),
    ),
    Bad(rule="greater_than", path=f"{_CANARY}.0.pairsShare", manifest=sector_model(rollout={"canary": [{"pairsShare": 0}]})),
    Bad(rule="less_than_equal", path=f"{_CANARY}.0.pairsShare", manifest=sector_model(rollout={"canary": [{"pairsShare": 1.1}]})),
    Bad(rule="greater_than_equal", path=f"{_CANARY}.0.bars", manifest=sector_model(rollout={"canary": [{"pairsShare": 1, "bars": 0}]})),
    Bad(rule="missing", path=f"{_CANARY}.0.pairsShare", manifest=sector_model(rollout={"canary": [{"bars": 5}]})),
    Bad(
        rule="extra_forbidden",
        path=f"{_CANARY}.0.weight",
        manifest=sector_model(rollout={"canary": [{"pairsShare": 0.5, "weight": 10}]}),
    ),
    Bad(rule="too_long", path=_CANARY, manifest=sector_model(rollout={"canary": [{"pairsShare": n / 11} for n in range(1, 12)]})),
    Bad(rule="greater_than", path="spec.rollout.canaryNotionalUsdMax", manifest=sector_model(rollout={"canaryNotionalUsdMax": "0"})),
    Bad(rule="literal_error", path="spec.rollout.handover", manifest=sector_model(rollout={"handover": "Keep"})),
    Bad(rule="greater_than_equal", path="spec.rollout.watchBars", manifest=sector_model(rollout={"watchBars": -1})),
    Bad(rule="bool_type", path="spec.rollout.autoPromote", manifest=sector_model(rollout={"autoPromote": "yes"})),
    Bad(
        rule="literal_error",
        path="spec.podTemplate.tolerations.0.effect",
        manifest=sector_model(podTemplate={"tolerations": [{"key": "gpu", "effect": "Never"}]}),
    ),
    Bad(
        rule="string_type",
        path="spec.podTemplate.nodeSelector.ssd",
        manifest=sector_model(podTemplate={"nodeSelector": {"ssd": True}}),
    ),
)

BAD_ACCOUNTS: tuple[Bad, ...] = (
    Bad(rule="source_immutable", path="spec", old=account(), manifest=account(source="paper", secretRef={"name": "alpaca"})),
    Bad(rule="credentials_named", path="spec", manifest=account(source="live")),
    Bad(rule="credentials_named", path="spec", manifest=account(source="paper")),
    Bad(rule="account_name_is_label", path="", manifest=account(name="desk.one")),
    Bad(rule="account_name_is_label", path="", manifest=account(name="a" * 64)),
    Bad(rule="missing", path="spec.source", manifest=without(account(), "source")),
    Bad(rule="literal_error", path="spec.source", manifest=account(source="Live", secretRef={"name": "alpaca"})),
    Bad(rule="literal_error", path="spec.mode", manifest=account(mode="active")),
    Bad(rule="string_type", path="spec.reason", manifest=account(reason=7)),
    Bad(rule="string_too_long", path="spec.reason", manifest=account(reason="x" * 513)),
    Bad(rule="literal_error", path="spec.deletionPolicy", manifest=account(deletionPolicy="Delete")),
    Bad(rule="missing", path="spec.secretRef.name", manifest=account(secretRef={})),
    Bad(rule="string_pattern_mismatch", path="spec.secretRef.name", manifest=account(secretRef={"name": "My Keys"})),
    Bad(rule="extra_forbidden", path="spec.secretRef.key", manifest=account(secretRef={"name": "alpaca", "key": "x"})),
    Bad(rule="money", path="spec.capitalUsd", manifest=account(capitalUsd="1,000,000")),
)

BAD_ROLLOUTS: tuple[Bad, ...] = (
    Bad(rule="rollout_immutable", path="spec", old=rollout(), manifest=rollout(stable={"version": "7", "digest": DIGEST})),
    Bad(rule="rollout_immutable", path="spec", old=rollout(), manifest=rollout(policy={"watchBars": 1})),
    Bad(rule="missing", path="spec.candidate", manifest=without(rollout(), "candidate")),
    Bad(rule="missing", path="spec.candidate.digest", manifest=rollout(candidate={"version": "8"})),
    Bad(rule="string_pattern_mismatch", path="spec.candidate.version", manifest=rollout(candidate={"version": "latest", "digest": DIGEST})),
    Bad(rule="bars_min_within_max", path="spec.policy.gate", manifest=rollout(policy={"gate": {"barsMax": 1}})),
    Bad(rule="canary_shares_grow", path="spec.policy", manifest=rollout(policy={"canary": [{"pairsShare": 1}, {"pairsShare": 0.5}]})),
)

BAD: tuple[Bad, ...] = (*BAD_PAIRS, *BAD_SECTOR_MODELS, *BAD_ACCOUNTS, *BAD_ROLLOUTS)

GOOD: tuple[Document, ...] = (
    pair(),
    pair(
        legs=["BRK.B", "AAPL"],
        signal={"entryZ": 3, "exitZ": 0, "stopZ": 5.5, "minReversionProbability": 0.7},
        risk={"notionalUsd": "2500.50", "maxHoldHalfLives": 2},
        suspend=True,
        deletionPolicy="Hold",
        deletionTimeoutSeconds=0,
    ),
    pair(risk={"notionalUsd": 10_000}),
    sector_model(),
    sector_model(model={"alias": "champion-1"}, replicas=0, rollout={"canary": []}),
    sector_model(
        model={"version": "12"},
        replicas=2,
        autoscaling={"enabled": True, "kind": "KEDA", "minReplicas": 1, "maxReplicas": 3, "targetCpuUtilization": 60, "lagThreshold": 50},
        resources={"requests": {"cpu": 1, "memory": "256Mi"}, "limits": {"cpu": "1500m", "memory": "1Gi", "example.com/gpu": 1}},
        rollout={
            "gate": {"claim": "Superior", "level": 0.01, "marginQlike": 0, "barsMin": 10, "sessionsMin": 2, "barsMax": 500},
            "operations": {
                "errorsMax": 3,
                "withheldShareMax": 0.5,
                "latencyP99SecondsMax": 0.25,
                "divergenceMax": 2,
                "divergenceShareMax": 1,
            },
            "canary": [{"pairsShare": 0.1, "bars": 5}, {"pairsShare": 0.5}, {"pairsShare": 1, "bars": 7}],
            "canaryNotionalUsdMax": "1250.25",
            "handover": "Hold",
            "watchBars": 0,
            "warmDeadlineSeconds": 60,
            "autoPromote": False,
            "autoRollback": False,
            "replayRequired": False,
        },
        suspend=True,
        podTemplate={
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}, {"value": "x"}],
            "annotations": {"example.com/team": "pairs"},
            "priorityClassName": "trading",
        },
    ),
    account(),
    account(source="live", secretRef={"name": "alpaca"}, mode="Halted", reason="earnings", deletionPolicy="Stop", capitalUsd=1_000_000),
    rollout(),
    rollout(stable={"version": "7", "digest": DIGEST}, policy={"gate": {"claim": "Superior"}}),
)
