"""The memory of a rollout survives the control topic, and a policy that contradicts itself is refused."""

import pytest

from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import SectorId
from tandem.rollout.policy import CanaryStep, RolloutPolicy
from tandem.rollout.state import GateResult, Moment, Outcome, RolloutState, Step, Verdict, from_document, to_document

STATE = RolloutState(
    sector=SectorId("energy"),
    candidate=ModelRef(name="m", version="8", digest="d8"),
    stable=ModelRef(name="m", version="7", digest="d7"),
    step=Step.SHADOW,
    outcome=Outcome.RUNNING,
    gates=(GateResult(name="qlike", verdict=Verdict.INCONCLUSIVE, reason="12 of 60 bars", bars=12, effect=-0.01),),
    history=(Moment(step=Step.REPLAY, at_s=1.5, reason="ReplayPassed", message="digest 12ab"),),
)


def test_a_state_survives_its_document() -> None:
    """What was written is read back as it was."""
    assert from_document(to_document(STATE)) == STATE


def test_a_document_that_is_no_state_is_refused() -> None:
    """With the field that is wrong named."""
    with pytest.raises(ValueError, match="step"):
        from_document(to_document(STATE) | {"step": "Sideways"})


@pytest.mark.parametrize("shares", [(0.5, 0.25), (0.5, 0.5)])
def test_canary_shares_must_grow(shares: tuple[float, float]) -> None:
    """A step that takes pairs back would be a roll-back in disguise."""
    with pytest.raises(ValueError, match="must grow"):
        RolloutPolicy(canary=tuple(CanaryStep(pairs_share=share) for share in shares))
