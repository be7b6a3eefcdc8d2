"""Laws of the planner: whatever is seen in whatever order, and wherever whoever carries it out is killed.

A small world of a control topic, a registry and forecasters; looks at it are partial, actions are done one after another, and a kill may
come before any of them, before or after the state is stored.
"""

from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout_cases import CANDIDATE, NOW_S, OTHER, PAIRS, POLICY, READY, SECTOR, STABLE, STARTING, evidence, pointer, versions
from tandem.domain.control import RoutingPointer
from tandem.rollout.observed import (
    Action,
    Announce,
    EnsureForecaster,
    Evidence,
    ForecasterState,
    MovePointer,
    Observed,
    RegisteredVersion,
    RemoveForecaster,
    ReplayCheck,
    Request,
    RunReplay,
    SetAlias,
    TagVersion,
)
from tandem.rollout.plan import begin, plan
from tandem.rollout.policy import RolloutPolicy
from tandem.rollout.registry_names import QUARANTINE_TAG
from tandem.rollout.state import Outcome, RolloutState, Step, Verdict, from_document, to_document

POLICIES = (
    POLICY,
    replace(POLICY, canary=(), watch_bars=0, replay_required=False),
    replace(POLICY, auto_promote=False, auto_rollback=False),
    replace(POLICY, canary=POLICY.canary[:1]),
)


@dataclass(kw_only=True)
class World:
    """What is really there."""

    state: RolloutState
    topic: list[RoutingPointer] = field(default_factory=lambda: [pointer()])
    known: dict[str, RegisteredVersion] = field(default_factory=lambda: {v.version: v for v in versions()})
    forecasters: dict[str, ForecasterState] = field(default_factory=lambda: {"1": READY})
    bars: int = 0
    verdict: Verdict = Verdict.INCONCLUSIVE
    replay: ReplayCheck | None = None
    now_s: float = NOW_S
    told: list[str] = field(default_factory=list)

    @property
    def pointer(self) -> RoutingPointer | None:
        """What a reader of the compacted topic holds."""
        return self.topic[-1] if self.topic else None

    def do(self, action: Action, ready: bool) -> None:
        """Carry one action out. ready: whether the candidate was Ready in the look that it follows from."""
        match action:
            case MovePointer(pointer=new):
                self._publish(new, ready)
            case SetAlias(alias=alias, version=version):
                for number, row in self.known.items():
                    aliases = {*row.aliases} - {alias} | ({alias} if number == version else set())
                    self.known[number] = replace(row, aliases=tuple(sorted(aliases)))
            case TagVersion(model=model, key=key, value=value):
                if key == QUARANTINE_TAG:
                    self.known[model.version] = replace(self.known[model.version], quarantined=value)
            case EnsureForecaster(model=model):
                self.forecasters.setdefault(model.version, STARTING)
            case RemoveForecaster(model=model):
                assert self.pointer is None or model.version != self.pointer.version, "removed what is acted on"
                self.forecasters.pop(model.version, None)
            case RunReplay():
                self.replay = ReplayCheck(passed=True, digest="d", reason="same")
            case Announce(reason=reason):
                self.told.append(reason)

    def _publish(self, new: RoutingPointer, ready: bool) -> None:
        old = self.pointer
        if old is not None and new.epoch <= old.epoch:
            assert new == old, f"two pointers at epoch {new.epoch}"
            return
        acts = new.version == CANDIDATE.version or new.canary is not None
        assert ready or not acts, "an unready candidate is acted on"
        self.topic.append(new)


LOOKS = st.fixed_dictionaries(
    {
        "registry": st.booleans(),
        "topic": st.booleans(),
        "scores": st.booleans(),
        "candidate": st.sampled_from([None, STARTING, READY, READY, READY]),
        "bars": st.integers(0, 40),
        "verdict": st.sampled_from([Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.PASS, Verdict.FAIL]),
        "seconds": st.sampled_from([1.0, 60.0, 1_000.0]),
        "request": st.sampled_from(["", "", "", "", "promote", "rollback", "abort", "start", "nonsense"]),
        "killed_after": st.integers(0, 8),  # actions
        "state_first": st.booleans(),  # whether the state is stored before the actions are done
        "hand": st.sampled_from(["", "", "", "", "", "", "", "", "pointer", "quarantine", "delete"]),  # what a person does meanwhile
    }
)


def look(world: World, drawn: dict[str, object], number: int) -> Observed:
    """Let time pass, then see a part of the world."""
    world.now_s += float(drawn["seconds"])  # type: ignore[arg-type]  # as drawn
    world.bars += int(drawn["bars"])  # type: ignore[call-overload]
    world.verdict = drawn["verdict"]  # type: ignore[assignment]
    candidate = drawn["candidate"]
    if CANDIDATE.version in world.forecasters and isinstance(candidate, ForecasterState):
        world.forecasters[CANDIDATE.version] = candidate
    by_hand(world, str(drawn["hand"]))
    action = str(drawn["request"])
    seen: Evidence | None = evidence(world.verdict, world.bars) if drawn["scores"] else None
    trouble = [name for name in ("registry", "topic", "scores") if not drawn[name]]
    return Observed(
        now_s=world.now_s,
        versions=tuple(world.known.values()) if drawn["registry"] else None,
        pointer=world.pointer if drawn["topic"] else None,
        pairs=PAIRS if drawn["topic"] else (),
        forecasters=dict(world.forecasters),
        replay=world.replay,
        evidence=seen,
        request=Request(request_id=f"r{number}", action=action) if action else None,
        trouble=tuple(trouble),
    )


def by_hand(world: World, deed: str) -> None:
    """Somebody else acts."""
    if deed == "pointer" and world.pointer is not None:
        world.topic.append(pointer(OTHER, epoch=world.pointer.epoch + 1))
    elif deed == "quarantine" and "2" in world.known:
        world.known["2"] = replace(world.known["2"], quarantined="by hand")
    elif deed == "delete":
        world.known.pop("2", None)


def carry_out(world: World, policy: RolloutPolicy, seen: Observed, *, killed_after: int = 99, state_first: bool = True) -> None:
    """One look as its executor makes it, up to the kill. The state goes through its document each time, as a restart reads it."""
    found = plan(policy, world.state, seen)
    ready = (seen.forecasters.get(CANDIDATE.version) or ForecasterState()).ready
    stored = from_document(to_document(found.state))
    if state_first:
        world.state = stored
    for action in found.actions[:killed_after]:
        if CANDIDATE.version in world.known or not isinstance(action, TagVersion):
            world.do(action, ready)
    if not state_first and killed_after >= len(found.actions):
        world.state = stored


def begun(stable: bool) -> World:
    """A rollout that begins, with a stable version or as the sector's first."""
    if stable:
        return World(state=begin(SECTOR, CANDIDATE, STABLE, versions(), now_s=NOW_S).state)
    return World(state=begin(SECTOR, CANDIDATE, None, versions(), now_s=NOW_S).state, topic=[], forecasters={})


@given(policy=st.sampled_from(POLICIES), stable=st.booleans(), looks=st.lists(LOOKS, max_size=40))
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_whatever_is_seen_and_wherever_it_is_killed(policy: RolloutPolicy, stable: bool, looks: list[dict[str, object]]) -> None:
    """Never two pointers at one epoch, never an unready candidate acted on, nothing removed that is; and in a calm world it ends settled.

    The first two and the third are asserted by the world. A rollout that is settled has left nothing behind.
    """
    world = begun(stable)
    for number, drawn in enumerate(looks):
        seen = look(world, drawn, number)
        carry_out(world, policy, seen, killed_after=int(drawn["killed_after"]), state_first=bool(drawn["state_first"]))  # type: ignore[call-overload]
        epochs = [p.epoch for p in world.topic]
        assert epochs == sorted(set(epochs))
    end_in_calm(world, policy)
    settled(world)


def end_in_calm(world: World, policy: RolloutPolicy) -> None:
    """Everything can be seen, forecasters become ready, bars come and the gates pass; a person promotes what waits for one."""
    for number in range(60):
        if world.state.step is Step.DONE:
            return
        world.forecasters = dict.fromkeys(world.forecasters, READY)
        world.bars, world.now_s = world.bars + 30, world.now_s + 1
        wish = Request(request_id=f"calm{number}", action="promote") if number % 5 == 4 and not policy.auto_promote else None
        seen = Observed(
            now_s=world.now_s,
            versions=tuple(world.known.values()),
            pointer=world.pointer,
            pairs=PAIRS,
            forecasters=dict(world.forecasters),
            replay=world.replay,
            evidence=evidence(Verdict.PASS, world.bars),
            request=wish,
        )
        carry_out(world, policy, seen)
    raise AssertionError(f"never settled: {world.state}")


def settled(world: World) -> None:
    """What is there agrees with how it ended."""
    end, now, version = world.state, world.pointer, CANDIDATE.version
    candidate = world.known.get(version)
    assert now is not None or end.outcome is not Outcome.SUCCEEDED
    if now is not None:
        assert now.canary is None or now.canary.version != version
    if end.outcome is Outcome.SUCCEEDED:
        assert now is not None
        assert now.version in (version, OTHER.version)
        assert version in world.forecasters or now.version != version
        return
    assert now is None or now.version != version
    assert version not in world.forecasters or now is None
    if candidate is not None:
        assert "champion" not in candidate.aliases or now is None or now.version not in world.known
        assert candidate.quarantined or end.outcome not in (Outcome.REFUSED, Outcome.ROLLED_BACK)


@given(policy=st.sampled_from(POLICIES), looks=st.lists(LOOKS, max_size=40))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_data_never_fails(policy: RolloutPolicy, looks: list[dict[str, object]]) -> None:
    """Without a person, a failing gate or a missing forecaster nothing is refused or taken back, whatever cannot be seen, however long."""
    world = begun(True)
    for number, drawn in enumerate(looks):
        verdict = Verdict.PASS if drawn["verdict"] is Verdict.PASS else Verdict.INCONCLUSIVE
        calm = drawn | {"verdict": verdict, "request": "", "hand": "", "candidate": READY, "seconds": 1.0}
        carry_out(world, policy, look(world, calm, number))
        assert world.state.outcome in (Outcome.RUNNING, Outcome.SUCCEEDED, Outcome.INCONCLUSIVE)


@given(policy=st.sampled_from(POLICIES), looks=st.lists(LOOKS, max_size=30))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_repeated_looks_repeat_nothing(policy: RolloutPolicy, looks: list[dict[str, object]]) -> None:
    """Once an unchanged world has been acted on, further looks announce nothing, change nothing and ask for no write."""
    world = begun(True)
    for number, drawn in enumerate(looks):
        carry_out(world, policy, look(world, drawn, number))
    for _ in range(12):
        seen = Observed(
            now_s=world.now_s,
            versions=tuple(world.known.values()),
            pointer=world.pointer,
            pairs=PAIRS,
            forecasters=dict(world.forecasters),
            replay=world.replay,
            evidence=evidence(world.verdict, world.bars),
        )
        carry_out(world, policy, seen)
    before = replace(world.state), list(world.topic), dict(world.known), list(world.told)
    found = plan(policy, world.state, replace(seen, pointer=world.pointer, versions=tuple(world.known.values())))
    assert all(isinstance(action, EnsureForecaster) for action in found.actions)
    assert (found.state, world.topic, world.known, world.told) == before
