"""The end of a TradingPair: what becomes of its position and of its record in the control topic before the object may go.

By spec.deletionPolicy. Flatten: the record says suspended, so the portfolio closes the position at its next bar; when the pair is flat, the
record goes. Stop: the pair's trading mode is Reducing, so the position closes on its own signals; then the record goes, and the mode. Hold:
the record stays and says frozen while a position is open: no order is sent, a person deals with it.

Bounded by spec.deletionTimeoutSeconds, and by the force annotation at once: then the object goes, and the record of what is still open
stays, so that prices go on coming and the portfolio goes on closing it; `sweep` withdraws it when the pair is flat. A record without an
object that is not on its way out was declared past this operator, and is left alone.
Killed anywhere, the next look finds in the control topic what is done already, and does the rest.
"""

from dataclasses import replace

import structlog

from tandem.adapters.open_positions import OpenPositions
from tandem.domain.control import PairSpec, TradingState
from tandem.domain.errors import Transient
from tandem.domain.ids import PairId
from tandem.domain.trading import TradingMode
from tandem.operator.context import Context
from tandem.operator.finalizers import has_finalizer, is_forced, left_s, release
from tandem.ports import Manifest
from tandem.rollout.conditions import READY, Finding, updated
from tandem.rollout.trading_pair import DELETION_TIMEOUT_S, TRADING_PAIR, TradingPair, TradingPairStatus

_LOOK_AGAIN_S = 2.0  # at the positions, while a deletion waits
_OURS = "its TradingPair is being deleted"  # reason of the trading mode under Stop; a mode with another reason is somebody else's
log = structlog.get_logger()


class Withdrawal:
    """Deletions of TradingPairs."""

    def __init__(self, context: Context, positions: OpenPositions) -> None:
        self._context, self._positions = context, positions

    def reconcile(self, read: Manifest, parsed: TradingPair | None, *, owns: bool) -> float | None:
        """One look at an object that is to go. parsed: None when its spec cannot be read. owns: it is the one that declares the pair."""
        if not has_finalizer(read):
            return None
        pair = _pair_of(read, parsed)
        if not owns or pair is None:  # the record is another object's, or there never was one
            release(self._context, read)
            return None
        policy = parsed.spec.deletion_policy if parsed else "Flatten"
        timeout_s = parsed.spec.deletion_timeout_seconds if parsed else DELETION_TIMEOUT_S
        left = 0.0 if is_forced(read) else left_s(read, timeout_s, self._context.now_s())
        try:
            open_in = self._close(pair, policy)
        except Transient as error:  # Kafka or Postgres is away
            if left > 0:
                self._wait(read, f"cannot withdraw {pair} now: {error}", left)
                raise
            self._give_up(read, pair, str(error))
            return None
        if open_in and policy == "Hold":
            message = f"{pair} is open in {', '.join(open_in)} and stays as it is: no order is sent for it until it is declared again"
            self._context.events.tell(read, "Warning", "Held", message)
        elif open_in:
            if left > 0:
                self._wait(read, f"waiting until {pair} is flat: open in {', '.join(open_in)} ({policy})", left)
                return min(_LOOK_AGAIN_S, left)
            self._give_up(read, pair, f"open in {', '.join(open_in)}")
            return None
        else:
            self._forget(pair)
            self._context.events.tell(read, "Normal", "Withdrawn", f"{pair} is flat and is declared no more")
        release(self._context, read)
        return None

    def sweep(self) -> None:
        """Withdraw the records that were left behind, suspended or frozen, once their pair is flat. Raises Transient."""
        control = self._context.control
        declared = {"-".join((read.get("spec") or {}).get("legs") or ()) for read in self._context.objects.all(TRADING_PAIR)}
        orphans = {pair: spec for pair, spec in control.pairs().items() if pair not in declared}
        if not orphans:
            return
        still_open = {position.pair for position in self._positions.now()}
        for pair, spec in orphans.items():
            if not spec.suspended and not spec.frozen and not is_leaving(control.trading(f"pair/{pair}")):
                log.warning("pair_without_object", pair=pair, advice=f"`tandem delete pair {pair}` withdraws it")
            elif pair not in still_open:
                self._forget(PairId(pair))
                log.info("left_behind_pair_withdrawn", pair=pair)

    def _close(self, pair: PairId, policy: str) -> tuple[str, ...]:
        """Tell the services what is to become of the pair. The accounts in which it is open; none when there is nothing to wait for."""
        spec = self._context.control.pair(pair)
        if spec is None:
            return ()
        if policy == "Stop":
            self._reduce(pair)
        else:
            wanted = replace(spec, frozen=True) if policy == "Hold" else replace(spec, suspended=True, frozen=False)
            self._publish(spec, wanted)
        return tuple(sorted({position.account for position in self._positions.now() if position.pair == pair}))

    def _reduce(self, pair: PairId) -> None:
        """Open nothing, close on signals; a mode that somebody has set already is stricter or as strict, and stays."""
        known = self._context.control.trading(f"pair/{pair}")
        if known is None or known.mode is TradingMode.ACTIVE:
            self._context.control.publish(TradingState(scope=f"pair/{pair}", mode=TradingMode.REDUCING, reason=_OURS))

    def _publish(self, known: PairSpec, wanted: PairSpec) -> None:
        if known != wanted:
            self._context.control.publish(wanted)

    def _forget(self, pair: PairId) -> None:
        """The record goes, and the mode that was set for the way out."""
        control = self._context.control
        if control.pair(pair) is not None:
            control.withdraw(f"pair/{pair}")
        if is_leaving(control.trading(f"pair/{pair}")):
            control.withdraw(f"trading/pair/{pair}")

    def _give_up(self, read: Manifest, pair: PairId, why: str) -> None:
        """The time is over, or somebody wants it gone: let the object go, and leave the record as it is."""
        reason = "ForceDeleted" if is_forced(read) else "WithdrawalTimedOut"
        message = f"{pair} was not withdrawn: {why}; its record stays in the control topic until it is flat"
        self._context.events.tell(read, "Warning", reason, message)
        release(self._context, read)

    def _wait(self, read: Manifest, message: str, left: float) -> None:
        """Say in the status what the deletion waits for, without the seconds: they would change it at each look."""
        context, old = self._context, TradingPairStatus.read(read)
        generation = read["metadata"]["generation"]
        finding = Finding(type=READY, status="False", reason="Withdrawing", message=message)
        conditions = updated(old.conditions, [finding], generation=generation, now_s=context.now_s())
        status = old.model_copy(update={"observed_generation": generation, "phase": "Withdrawing", "conditions": conditions})
        if old.phase != "Withdrawing":
            context.events.tell(read, "Normal", "Withdrawing", f"{message}; for {left:.0f} s at most")
        context.write_status(read, status.to_document())


def _pair_of(read: Manifest, parsed: TradingPair | None) -> PairId | None:
    """The pair's id; of a spec that cannot be read any more, the one that was told of."""
    if parsed is not None:
        return parsed.to_spec().pair
    told = TradingPairStatus.read(read).pair
    return PairId(told) if told else None


def is_leaving(mode: TradingState | None) -> bool:
    """A pair's trading mode that was set here for the way out, and that a new declaration lifts."""
    return mode is not None and mode.reason == _OURS
