"""SectorModel: its rollout part is RolloutPolicy, field by field and default by default."""

from dataclasses import fields
from decimal import Decimal
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from manifest_table import GOOD, sector_model
from tandem.domain.control import Handover
from tandem.rollout.policy import CanaryStep, Claim, GatePolicy, OperationalPolicy, RolloutPolicy
from tandem.rollout.sector_model import RolloutSpec, SectorModel, SectorModelStatus, parse_sector_model

FULL: dict[str, Any] = GOOD[5]["spec"]["rollout"]


def policy_of(rollout: dict[str, Any]) -> RolloutPolicy:
    """The policy of a manifest with this rollout part."""
    parsed = parse_sector_model(sector_model(rollout=rollout))
    assert isinstance(parsed, SectorModel), parsed
    return parsed.spec.rollout.to_policy()


def test_nothing_given_is_the_default_policy() -> None:
    """The defaults are written down once, in rollout/policy.py."""
    assert policy_of({}) == RolloutPolicy()
    assert policy_of({"gate": {}, "operations": {}}) == RolloutPolicy()


def test_every_field_reaches_the_policy() -> None:
    """No field of the manifest is dropped or mixed up on the way; none of them stands at its default here."""
    policy = policy_of(FULL)
    assert policy == RolloutPolicy(
        gate=GatePolicy(claim=Claim.SUPERIOR, level=0.01, margin_qlike=0.0, bars_min=10, sessions_min=2, bars_max=500),
        operations=OperationalPolicy(
            errors_max=3, withheld_share_max=0.5, latency_p99_s_max=0.25, divergence_max=2.0, divergence_share_max=1.0
        ),
        replay_required=False,
        canary=(CanaryStep(pairs_share=0.1, bars=5), CanaryStep(pairs_share=0.5, bars=10), CanaryStep(pairs_share=1.0, bars=7)),
        canary_notional_usd_max=Decimal("1250.25"),
        handover=Handover.HOLD,
        watch_bars=0,
        warm_deadline_s=60.0,
        auto_promote=False,
        auto_rollback=False,
    )
    for part, default in ((policy, RolloutPolicy()), (policy.gate, GatePolicy()), (policy.operations, OperationalPolicy())):
        same = [field.name for field in fields(default) if getattr(part, field.name) == getattr(default, field.name)]
        assert same == [], f"{type(default).__name__}: the manifest of this test leaves {same} at the default"


def names(policy: Any) -> set[str]:
    """The fields of a policy as a manifest would write them; seconds are written out."""
    return {
        to_camel(field.name.replace("_s_max", "_seconds_max").removesuffix("_s") + ("_seconds" if field.name.endswith("_s") else ""))
        for field in fields(policy)
    }


def test_the_manifest_has_the_fields_of_the_policy_and_no_other() -> None:
    """A field that is added to the policy is missing here until the manifest has it."""
    assert {field.alias for field in RolloutSpec.model_fields.values()} == names(RolloutPolicy)
    for name, policy in (("gate", GatePolicy), ("operations", OperationalPolicy)):
        part: Any = RolloutSpec.model_fields[name].annotation
        assert {field.alias for field in part.model_fields.values()} == names(policy)


@pytest.mark.parametrize("handover", list(Handover))
def test_every_handover_can_be_asked_for(handover: Handover) -> None:
    """By its name in the manifest's spelling."""
    assert policy_of({"handover": handover.value.title().replace("_", "")}).handover is handover


@pytest.mark.parametrize("claim", list(Claim))
def test_every_claim_can_be_asked_for(claim: Claim) -> None:
    """By its name in the manifest's spelling."""
    assert policy_of({"gate": {"claim": claim.value.title().replace("_", "")}}).gate.claim is claim


def test_a_status_of_another_version_is_read_as_far_as_it_is_known() -> None:
    """An operator that was rolled back still starts."""
    document = {"status": {"stableVersion": "7", "epoch": 3, "mood": "good"}}
    assert SectorModelStatus.read(document) == SectorModelStatus(stable_version="7", epoch=3)
    assert SectorModelStatus.read({}) == SectorModelStatus()


def test_a_field_without_a_value_is_null_in_a_patch() -> None:
    """Which removes it from what stands there."""
    document = SectorModelStatus(stable_version="7").to_document()
    assert document["stableVersion"] == "7"
    assert document["candidateVersion"] is None
