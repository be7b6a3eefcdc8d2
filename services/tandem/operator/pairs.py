"""TradingPairs: what a declared pair makes of the control topic and of its own status.

The older of two objects with the same two legs, either way round, declares the pair; the other says Conflict. The record in the control
topic is brought back when somebody else changes it. Whether the live version holds the pair is told, and changes nothing: a pair that it
does not hold waits. What happens on a deletion stands in withdrawal.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tandem.adapters import telemetry
from tandem.adapters.open_positions import OpenPositions
from tandem.domain.control import PairSpec
from tandem.domain.errors import Permanent, Transient
from tandem.domain.units import utc
from tandem.operator.context import Context
from tandem.operator.finalizers import hold, is_deleted
from tandem.operator.live_pairs import LivePairs
from tandem.operator.queue import WorkQueue
from tandem.operator.withdrawal import Withdrawal, is_leaving
from tandem.ports import Manifest
from tandem.rollout.conditions import READY, Finding, condition_of, ready, updated
from tandem.rollout.trading_pair import ACCEPTED, IN_MODEL, TRADING_PAIR, TradingPair, TradingPairStatus, parse_trading_pair

WORKERS = 4  # mostly waiting for the API server
_LOOK_AGAIN_S = 15.0  # while the registry does not say which pairs the live version holds
_TOLD_REASONS = frozenset({"PairNotInModel", "RegistryUnreachable", "KafkaUnreachable"})  # of Ready, that are Events, too


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What came of telling the services: the finding when it failed, and whether another's change was put back."""

    trouble: Transient | None = None
    repaired: bool = False
    new: bool = False


class Pairs:
    """The reconcile of TradingPairs, and who is concerned by what."""

    def __init__(self, context: Context, positions: OpenPositions, live: LivePairs) -> None:
        self._context, self._live = context, live
        self._withdrawal = Withdrawal(context, positions)

    def register(self, queue: WorkQueue) -> None:
        """TradingPairs, a few at once."""
        queue.register(TRADING_PAIR, self.reconcile, workers=WORKERS)

    def concerned(self, manifest: Manifest) -> Iterable[tuple[str, str]]:
        """The other objects with the same legs: which of them declares the pair may have changed."""
        if manifest["kind"] == TRADING_PAIR:
            yield from ((TRADING_PAIR, name_of(other)) for other in rivals(manifest, self._context.objects.all(TRADING_PAIR)))

    def told(self, key: str) -> Iterable[tuple[str, str]]:
        """A pair's record: its object. A sector's pointer: all pairs of the sector, as the live version is another."""
        scope, _, name = key.partition("/")
        for read in self._context.objects.all(TRADING_PAIR):
            sector = (read.get("spec") or {}).get("sector")
            if (scope == "pair" and same_legs(legs_of(read), name.split("-"))) or (scope == "routing" and sector == name):
                yield TRADING_PAIR, name_of(read)

    def resync(self) -> None:
        """What is left of pairs whose object is gone."""
        self._withdrawal.sweep()

    def stop(self) -> None:
        """Nothing runs on its own."""

    def reconcile(self, name: str) -> float | None:
        """One look at one TradingPair."""
        read = self._context.objects.get(TRADING_PAIR, name)
        if read is None:
            return None
        family = rivals(read, self._context.objects.all(TRADING_PAIR))
        owner = min((read, *family), key=_age)
        parsed = parse_trading_pair(essentials(read))
        if is_deleted(read):
            return self._withdrawal.reconcile(read, parsed if isinstance(parsed, TradingPair) else None, owns=owner is read)
        if not isinstance(parsed, TradingPair):
            self._refuse(read, "Invalid", "; ".join(fault.message for fault in parsed))
            return None
        spec = parsed.to_spec()
        if owner is not read:
            self._refuse(read, "Conflict", f"{spec.pair} is declared by the older TradingPair {name_of(owner)}; delete one of the two")
            return None
        return self._declare(read, spec, family)

    def _refuse(self, read: Manifest, reason: str, message: str) -> None:
        finding = Finding(type=ACCEPTED, status="False", reason=reason, message=message)
        self._write(read, [finding], phase=reason)
        self._context.events.tell(read, "Warning", reason, message)

    def _declare(self, read: Manifest, spec: PairSpec, family: Sequence[Manifest]) -> float | None:
        read = hold(self._context, read)  # before anything is told: a deletion from now on waits for the withdrawal
        try:
            if (conflict := self._turned(spec, family)) is not None:
                self._refuse(read, "Conflict", conflict)
                return None
            told = self._tell(read, spec)
            in_model = self._in_model(spec)
        except Transient as error:
            if self._context.control.trouble is None:
                raise
            told, in_model = _Told(trouble=error), None
        findings = [Finding(type=ACCEPTED, status="True", reason="Accepted")]
        if in_model is not None:
            findings.append(in_model)
        self._report(read, spec, findings, told)
        if told.trouble is not None:
            raise told.trouble
        return _LOOK_AGAIN_S if in_model is not None and in_model.status == "Unknown" and in_model.reason != "NoModel" else None

    def _turned(self, spec: PairSpec, family: Sequence[Manifest]) -> str | None:
        """Why the pair's mirror image, declared already, is in the way; None when it is not, or not any more."""
        mirror = f"{spec.leg_b}-{spec.leg_a}"
        if self._context.control.pair(mirror) is None:
            return None
        if any(legs_of(other) == [spec.leg_b, spec.leg_a] for other in family):  # a rival's, from before this object was the older one
            self._context.control.withdraw(f"pair/{mirror}")
            return None
        return f"{mirror} is declared without a TradingPair, with the legs the other way round; `tandem delete pair {mirror}` withdraws it"

    def _tell(self, read: Manifest, spec: PairSpec) -> _Told:
        """Bring the record in the control topic to the spec."""
        control = self._context.control
        if is_leaving(control.trading(f"pair/{spec.pair}")):  # left behind by an object of before
            control.withdraw(f"trading/pair/{spec.pair}")
        known = control.pair(spec.pair)
        if known == spec:
            return _Told()
        repaired = _was_told(read)
        control.publish(spec)
        if repaired:
            telemetry.counter("operator_drift_repaired_total").labels(record="pair").inc()
        return _Told(repaired=repaired, new=known is None and not repaired)

    def _in_model(self, spec: PairSpec) -> Finding:
        """Whether the version that is acted on holds the pair."""
        pointer = self._context.control.pointer(spec.sector)
        if pointer is None:
            message = f"sector {spec.sector} has no live model yet; the pair waits until one is promoted"
            return Finding(type=IN_MODEL, status="Unknown", reason="NoModel", message=message)
        try:
            held = self._live.of(spec.sector, pointer.version)
        except (Transient, Permanent) as error:
            return Finding(type=IN_MODEL, status="Unknown", reason="RegistryUnreachable", message=str(error))
        live = f"version {pointer.version} of sector {spec.sector}"
        if held is None:
            message = f"{live} does not say in the registry which pairs it holds"
            return Finding(type=IN_MODEL, status="Unknown", reason="PairsUnknown", message=message)
        if spec.pair not in held:
            message = f"{live} does not hold {spec.pair}; the pair waits until a version holds it, which the next training makes"
            return Finding(type=IN_MODEL, status="False", reason="PairNotInModel", message=message)
        return Finding(type=IN_MODEL, status="True", reason="InModel", message=f"{live} holds it")

    def _report(self, read: Manifest, spec: PairSpec, findings: list[Finding], told: _Told) -> None:
        """Status and Events of a pair that is accepted."""
        context = self._context
        overall = ready(findings, reason="Declared")
        if told.trouble is not None:
            message = f"{told.trouble}; services go on with what they were told before, and this is told when Kafka is back"
            overall = Finding(type=READY, status="Unknown", reason="KafkaUnreachable", message=message)
        was = condition_of(TradingPairStatus.read(read).conditions, READY)
        phase = "Suspended" if spec.suspended and overall.status == "True" else overall.reason
        declared_s = None if told.trouble is not None else context.now_s()
        self._write(read, [*findings, overall], phase=phase, declared_s=declared_s, pair=spec.pair)
        if told.repaired:
            message = f"the control topic's record of {spec.pair} was changed or lost by somebody else's doing, and was put back"
            context.events.tell(read, "Warning", "DriftRepaired", message)
        if told.new:
            context.events.tell(read, "Normal", "Declared", f"{spec.pair} of sector {spec.sector} was told to the services")
        if overall.reason in _TOLD_REASONS and (was is None or was.reason != overall.reason):
            context.events.tell(read, "Warning", overall.reason, overall.message)

    def _write(
        self, read: Manifest, findings: list[Finding], *, phase: str, declared_s: float | None = None, pair: str | None = None
    ) -> None:
        """The status, where it differs."""
        if all(finding.type != READY for finding in findings):
            findings = [*findings, ready(findings)]
        old, generation = TradingPairStatus.read(read), read["metadata"]["generation"]
        conditions = updated(old.conditions, findings, generation=generation, now_s=self._context.now_s())
        if findings[0].status == "False":  # refused: nothing is known of the rest
            conditions = tuple(condition for condition in conditions if condition.type in {ACCEPTED, READY})
        status = TradingPairStatus(
            observed_generation=generation,
            pair=pair or old.pair,
            phase=phase,
            declared_at=old.declared_at or (f"{utc(int(declared_s * 1e9)):%Y-%m-%dT%H:%M:%SZ}" if declared_s is not None else None),
            conditions=conditions,
        )
        self._context.write_status(read, status.to_document())


def _was_told(read: Manifest) -> bool:
    """This very spec was told to the services before."""
    was = condition_of(TradingPairStatus.read(read).conditions, READY)
    return (
        was is not None and was.observed_generation == read["metadata"]["generation"] and was.reason not in {"KafkaUnreachable", "Conflict"}
    )


def essentials(read: Manifest) -> Manifest:
    """What a person writes of an object; the rest of its metadata is the cluster's business and may grow with its version."""
    metadata = read["metadata"]
    return {key: read[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": metadata["name"]}}


def name_of(read: Manifest) -> str:
    """metadata.name."""
    return str(read["metadata"]["name"])


def legs_of(read: Manifest) -> list[str]:
    """The legs as they are declared; none of an object that the definitions of an earlier version let through."""
    return list((read.get("spec") or {}).get("legs") or ())


def same_legs(one: Iterable[str], other: Iterable[str]) -> bool:
    """The same two, either way round."""
    return sorted(one) == sorted(other)


def rivals(read: Manifest, everybody: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """The other objects that declare the same two legs, either way round."""
    legs, name = legs_of(read), name_of(read)
    return tuple(other for other in everybody if name_of(other) != name and same_legs(legs_of(other), legs))


def _age(read: Manifest) -> tuple[str, str]:
    """Orders objects from the oldest on; creationTimestamp is RFC 3339 in UTC, which sorts as text."""
    return read["metadata"]["creationTimestamp"], name_of(read)
