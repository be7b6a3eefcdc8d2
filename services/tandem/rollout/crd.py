"""The four kinds as Kubernetes is told of them: names, columns, subresources and schema of each CustomResourceDefinition.

The pydantic models are the source; `make generate` writes charts/tandem/files/crds from `definitions`, and `make verify` compares.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tandem.rollout.conditions import READY
from tandem.rollout.model_rollout import (
    CANDIDATE_READY,
    GATE_PASSED,
    MODEL_ROLLOUT,
    PROMOTED,
    REPLAY_PASSED,
    ROLLED_BACK,
    ModelRollout,
    ModelRolloutSpec,
    ModelRolloutStatus,
)
from tandem.rollout.resources import API_VERSION, GROUP, VERSION, Status, Strict
from tandem.rollout.schema import Schema, structural
from tandem.rollout.sector_model import (
    MODEL_RESOLVED,
    PROGRESSING,
    REGISTRY_REACHABLE,
    SECTOR_MODEL,
    SectorModel,
    SectorModelSpec,
    SectorModelStatus,
)
from tandem.rollout.trading_account import (
    CREDENTIALS_FOUND,
    TRADING_ACCOUNT,
    TradingAccount,
    TradingAccountSpec,
    TradingAccountStatus,
)
from tandem.rollout.trading_pair import (
    ACCEPTED,
    IN_MODEL,
    TRADING_PAIR,
    TradingPair,
    TradingPairSpec,
    TradingPairStatus,
    parse_trading_pair,
)

__all__ = ["API_VERSION", "GROUP", "KINDS", "TRADING_PAIR", "VERSION", "Column", "Kind", "TradingPair", "definitions", "parse_trading_pair"]

CATEGORY = "tandem"  # `kubectl get tandem` shows all kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of `kubectl get`. wide: with -o wide only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def to_document(self) -> dict[str, Any]:
        """As a definition lists it."""
        priority = {"priority": 1} if self.wide else {}
        return {"name": self.name, "type": self.type, "jsonPath": self.path, **priority}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of resource. scalable: it has a scale subresource, spec.replicas and status.replicas."""

    name: str
    plural: str
    short_name: str
    model: type[Strict]
    spec: type[Strict]
    status: type[Status]
    columns: Sequence[Column]
    conditions: Mapping[str, str]  # each with what is the case when it is True
    scalable: bool = False

    @property
    def full_name(self) -> str:
        """The name of its definition."""
        return f"{self.plural}.{GROUP}"


def _condition(name: str, kind: str, field: str) -> Column:
    return Column(name=name, path=f'.status.conditions[?(@.type=="{kind}")].{field}')


_READY = _condition("Ready", READY, "status")
_REASON = _condition("Reason", READY, "reason")
_AGE = Column(name="Age", path=".metadata.creationTimestamp", type="date")

KINDS: tuple[Kind, ...] = (
    Kind(
        name=TRADING_PAIR,
        plural="tradingpairs",
        short_name="tp",
        model=TradingPair,
        spec=TradingPairSpec,
        status=TradingPairStatus,
        columns=(
            Column(name="Pair", path=".status.pair"),
            Column(name="Sector", path=".spec.sector"),
            Column(name="Entry", path=".spec.signal.entryZ", type="number"),
            Column(name="Notional", path=".spec.risk.notionalUsd", wide=True),
            _READY,
            _REASON,
            _AGE,
        ),
        conditions={
            ACCEPTED: "No older object declares the same two legs, either way round.",
            IN_MODEL: "The version of the sector's model that is acted on holds the pair; until then the pair waits.",
            READY: "Both: the services know the pair and have forecasts of it.",
        },
    ),
    Kind(
        name=SECTOR_MODEL,
        plural="sectormodels",
        short_name="smod",
        model=SectorModel,
        spec=SectorModelSpec,
        status=SectorModelStatus,
        columns=(
            Column(name="Sector", path=".spec.sector"),
            Column(name="Stable", path=".status.stableVersion"),
            Column(name="Candidate", path=".status.candidateVersion"),
            Column(name="Phase", path=".status.phase"),
            Column(name="Epoch", path=".status.epoch", type="integer"),
            _READY,
            Column(name="Reason", path=_REASON.path, wide=True),
            Column(name="Rollout", path=".status.rollout", wide=True),
            _AGE,
        ),
        conditions={
            REGISTRY_REACHABLE: "The registry answered at the last look. While it does not, the stable version goes on.",
            MODEL_RESOLVED: "The wanted version is registered, has a bundle of ours, and is not quarantined.",
            PROGRESSING: "A rollout is under way.",
            READY: "The forecasters of the version that is acted on are Ready.",
            "ObjectsApplied": "Everything that is wanted in the cluster for the sector could be made.",
        },
        scalable=True,
    ),
    Kind(
        name=TRADING_ACCOUNT,
        plural="tradingaccounts",
        short_name="ta",
        model=TradingAccount,
        spec=TradingAccountSpec,
        status=TradingAccountStatus,
        columns=(
            Column(name="Source", path=".spec.source"),
            Column(name="Wanted", path=".spec.mode"),
            Column(name="Mode", path=".status.mode"),
            Column(name="Open", path=".status.openPairs", type="integer"),
            _READY,
            _REASON,
            _AGE,
        ),
        conditions={
            CREDENTIALS_FOUND: "The Secret of the broker's credentials is there.",
            READY: "The services were told the wanted mode, and the credentials are there.",
        },
    ),
    Kind(
        name=MODEL_ROLLOUT,
        plural="modelrollouts",
        short_name="mro",
        model=ModelRollout,
        spec=ModelRolloutSpec,
        status=ModelRolloutStatus,
        columns=(
            Column(name="Sector", path=".spec.sector"),
            Column(name="Stable", path=".spec.stable.version"),
            Column(name="Candidate", path=".spec.candidate.version"),
            Column(name="Step", path=".status.step"),
            Column(name="Bars", path=".status.bars", type="integer"),
            Column(name="QLIKE delta", path=".status.qlikeDelta", type="number"),
            Column(name="p", path=".status.pValue", type="number"),
            Column(name="Verdict", path=".status.verdict"),
            Column(name="Outcome", path=".status.outcome"),
            Column(name="Message", path=".status.message", wide=True),
            _AGE,
        ),
        conditions={
            REPLAY_PASSED: "The recorded span of the version's training was decided again and gave the same digest.",
            CANDIDATE_READY: "The candidate's forecaster was Ready: digest verified, state rebuilt, lag gone.",
            GATE_PASSED: "Every gate passed at its newest look.",
            PROMOTED: "The routing pointer names the candidate, and it was not taken back.",
            ROLLED_BACK: "The candidate was acted on and taken back.",
        },
    ),
)


def definitions() -> dict[str, Schema]:
    """Every CustomResourceDefinition, by the name of its file."""
    return {f"{kind.plural}.yaml": definition(kind) for kind in KINDS}


def definition(kind: Kind) -> Schema:
    """The CustomResourceDefinition of a kind."""
    subresources: Schema = {"status": {}}
    if kind.scalable:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.full_name},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _schema(kind)},
                    "subresources": subresources,
                    "additionalPrinterColumns": [column.to_document() for column in kind.columns],
                }
            ],
        },
    }


def _schema(kind: Kind) -> Schema:
    """apiVersion, kind and metadata are the API server's; spec and status are ours."""
    root: Schema = {
        "type": "object",
        "description": inspect.cleandoc(kind.model.__doc__ or ""),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(kind.spec),
            "status": structural(kind.status),
        },
    }
    if rules := kind.model.validations():
        root["x-kubernetes-validations"] = rules
    return root
