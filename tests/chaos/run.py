"""One seed from an empty platform to the checker's verdict. Safety is judged by the checker, liveness here: all come back and to rest."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from chaos.happened import Stuck
from chaos.launch import Launcher
from chaos.market import ReplayPlan
from chaos.models import Models
from chaos.play import Play
from chaos.schedule import Fault
from chaos.servers import NAMES, Servers
from chaos.stage import Stage
from chaos.ways import ways
from tandem.checker.evidence import Evidence
from tandem.checker.gather import Places, gather
from tandem.checker.run import verify
from tandem.checker.tally import Tally
from tandem.domain.errors import Permanent

PLAY_S_MAX = 150.0  # from the first bar to rest
RECOVERY_S_MAX = 30.0  # what the platform promises after a kill -9 of any one process
_ALONE_BARS_MAX = 5  # one to fill, one to find out that it did not, one to try again, and as much to give up
_CLOSED_MARKET = frozenset({"halt_leg", "halt_market", "narrow_band", "not_tradable"})  # nobody can trade out of these
REST_S_MAX = 10.0  # and until pairs are flat or hedged after the last fault
_LEDGER = """
SELECT o.decided_ns, o.client_order_id, o.symbol, o.side, o.qty, o.limit_usd, o.status,
             f.execution_id, f.event_ns, f.qty, f.price_usd
FROM orders o LEFT JOIN fills f USING (book, client_order_id) ORDER BY 1, 2, 9, 8"""
_IDS = (1, 7)  # columns of it


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a seed."""

    name: str
    faults: tuple[Fault, ...]
    tallies: tuple[Tally, ...] = ()
    decisions: tuple[tuple[Any, ...], ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    deaths: dict[str, int] = field(default_factory=dict)  # by process: ended by itself, and started again
    stalled_s: float = 0.0  # longest time for which the market stood still
    recovered_s: float = 0.0  # longest time from the death of a process to its readiness, of those that came back

    @property
    def violated(self) -> list[Tally]:
        """The invariants that do not hold."""
        return [tally for tally in self.tallies if not tally.holds]

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "faults": [fault.document() for fault in self.faults],
            "invariants": {tally.name: tally.document() for tally in self.tallies},
            "orders": len({row[1] for row in self.decisions}),
            "seconds": self.seconds,
            "ended_by_themselves": self.deaths,
            "market_stood_still_s": self.stalled_s,
            "recovered_within_s": self.recovered_s,
        }


class SeedRun:
    """Plays one schedule."""

    def __init__(self, servers: Servers, launcher: Launcher, plan: ReplayPlan, models: Models, folder: Path) -> None:
        self._servers, self._launcher, self._plan, self._models, self.folder = servers, launcher, plan, models, folder

    def play(self, name: str, faults: Sequence[Fault], clean: Outcome | None) -> Outcome:
        """Everything, from empty servers to the verdict. clean: the run without a fault, which others must decide like."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        outcome, laps = Outcome(name=name, faults=tuple(faults)), _Laps()
        self._servers.empty([sector.sector for sector in self._plan.sectors])
        stage = Stage(self._servers, self._launcher, self._plan, self._models, folder)
        liveness = Tally(
            name="comes_to_rest", claim="Every part is ready again, the market ends, and the last comparison is made, in time."
        )
        table = ways()
        play = Play(stage, lambda fault: table[fault.kind].begin(stage, fault))
        try:
            laps.note("empty")
            stage.open(rollouts=any(fault.renames for fault in faults))
            laps.note("start")
            play.through(faults, len(self._plan.watermark_ns) - 1)
            stage.until("the market's end", stage.has_ended, PLAY_S_MAX)
            laps.note("play")
            stage.sockets.heal()
            rest_s = stage.until("rest", lambda: _at_rest(stage), PLAY_S_MAX)
            stage.until("what came back is noted", lambda: all(r.ready_s is not None for r in stage.recoveries))
            laps.note("rest")
            liveness.expect(rest_s <= REST_S_MAX or not faults, f"{rest_s:.1f} s from the market's end to rest, allowed {REST_S_MAX:.0f}")
        except Stuck as error:
            liveness.expect(False, str(error))
        except BaseException:
            stage.close()  # interrupted: nothing to judge, and nothing may stay behind
            raise
        try:
            play.lift()
            stage.servers.whole()
            outcome.tallies, outcome.decisions = self._judge(stage, outcome, liveness, clean)
        finally:
            stage.close()
        laps.note("judge")
        outcome.seconds = laps.seconds
        return outcome

    def _judge(self, stage: Stage, outcome: Outcome, liveness: Tally, clean: Outcome | None) -> tuple[tuple[Tally, ...], Any]:
        spans = self._plan.spans
        log = stage.state_dir / "exchange.jsonl"
        risk = yaml.safe_load((self._plan.config / "risk.yaml").read_text())
        evidence, missing = _evidence(
            Places(
                kafka=self._servers.kafka,
                postgres_url=self._servers.postgres_url,
                exchange_log=log if log.exists() else None,
                data=(self._plan.part,),
                from_ns=spans.replay_from_ns,
                to_ns=spans.replay_to_ns,
                pairs=self._plan.pairs,
                injected=frozenset(stage.injected),
                unhedged_s_max=_alone_s_max(self._plan, outcome.faults),
                ended=liveness.checked > 0 and liveness.holds,
                bar=self._plan.bar,
                close_cutoff_s=risk["pretrade"]["close_cutoff_s"],
                resume_wait_s=risk["pretrade"]["resume_wait_s"],
                session_end=risk["session_end"]["policy"],
            )
        )
        if missing:
            liveness.expect(False, missing)
        decisions = tuple(stage.rows(_LEDGER))
        outcome.deaths, outcome.stalled_s = _own_deaths(stage), round(stage.stalled_s, 2)
        outcome.recovered_s = round(max((r.ready_s - r.died_s for r in stage.recoveries if r.ready_s is not None), default=0.0), 2)
        ours = (
            liveness,
            _recovered(stage),
            _went_on(stage, outcome.faults),
            stage.switches,
            _no_opens(stage, evidence),
            _rolled_out(stage, evidence),
            _same_decisions(outcome, decisions, clean),
        )
        return (*verify(evidence), *ours), decisions


def _alone_s_max(plan: ReplayPlan, faults: Sequence[Fault]) -> float:
    """Event time for which a leg may stand alone: some bars, as orders fill in the next one at the earliest; in a halt, its length."""
    closed = any(fault.kind in _CLOSED_MARKET for fault in faults)
    return plan.event_s(len(plan.watermark_ns) - 1 if closed else _ALONE_BARS_MAX)


def _evidence(places: Places) -> tuple[Evidence, str]:
    """What can be read, and why the rest cannot."""
    try:
        return gather(places), ""
    except Permanent as error:
        return gather(replace(places, postgres_url="", exchange_log=None)), str(error)


def _no_opens(stage: Stage, evidence: Evidence) -> Tally:
    tally = Tally(name="no_opens_while_switched_off", claim="No position is opened at a bar while the kill switch is in force.")
    for after_ns, to_ns in stage.no_opens:
        opened = [
            i
            for i in (evidence.ledger.intents if evidence.ledger else ())
            if i.action.startswith("open") and after_ns < i.bar_close_ns <= to_ns
        ]
        tally.expect(not opened, f"{len(opened)} positions opened after {after_ns} up to {to_ns}: {[i.pair for i in opened][:3]}")
    return tally


def _rolled_out(stage: Stage, evidence: Evidence) -> Tally:
    """The first half of a rollout's bars is left to the pointer's way to the portfolio, and the one bar of a short rollout whole."""
    tally = Tally(
        name="rollouts_take_effect", claim="While a pointer names another version, that one decides: from half of its time on all."
    )
    sector_of = {pair.pair: pair.sector for pair in evidence.pairs}
    for rollout in stage.rollouts:
        bars = [int(ns) for ns in stage.plan.watermark_ns if rollout.from_ns < ns <= rollout.to_ns]
        for intent in evidence.ledger.intents if evidence.ledger else ():
            if sector_of.get(intent.pair) == rollout.sector and intent.bar_close_ns in bars[(len(bars) + 1) // 2 :]:
                by_it = intent.model_digest == rollout.digest
                tally.expect(by_it, f"{intent.pair} at {intent.bar_close_ns} by {intent.model_digest}, routed to {rollout.digest}")
    return tally


class _Laps:
    def __init__(self) -> None:
        self._began_s, self.seconds = time.monotonic(), dict[str, float]()

    def note(self, name: str) -> None:
        self.seconds[name] = round(time.monotonic() - self._began_s - sum(self.seconds.values()), 2)


def _at_rest(stage: Stage) -> bool:
    """All parts ready, and the portfolio has compared its book with the broker after the market's end."""
    if not all(map(stage.ready, (*NAMES, *stage.names))):
        return False
    return bool(stage.rows("SELECT count(*) FROM reconciliations WHERE occasion = 'end_of_stream'")[0][0])


def _recovered(stage: Stage) -> Tally:
    tally = Tally(name="recovers", claim=f"After a kill -9 a process is ready again within {RECOVERY_S_MAX:.0f} s.")
    for recovery in stage.recoveries:
        if recovery.asked:
            took = None if recovery.ready_s is None else recovery.ready_s - recovery.died_s
            tally.expect(took is not None and took <= RECOVERY_S_MAX, f"{recovery.name}: {'never' if took is None else f'{took:.1f} s'}")
    return tally


def _went_on(stage: Stage, faults: Sequence[Fault]) -> Tally:
    claim = f"The market stands still for no more than {RECOVERY_S_MAX:.0f} s beyond what the longest fault lasts."
    tally = Tally(name="market_goes_on", claim=claim)
    limit_s = RECOVERY_S_MAX + max((fault.lasts_ms for fault in faults), default=0) / 1000
    tally.expect(stage.stalled_s <= limit_s, f"the market stood still for {stage.stalled_s:.1f} s, allowed {limit_s:.1f}")
    return tally


def _own_deaths(stage: Stage) -> dict[str, int]:
    found: dict[str, int] = {}
    for recovery in stage.recoveries:
        if not recovery.asked:
            found[recovery.name] = found.get(recovery.name, 0) + 1
    return found


def _same_decisions(outcome: Outcome, decisions: tuple[tuple[Any, ...], ...], clean: Outcome | None) -> Tally:
    """Byte for byte: ids, quantities, prices, times and fates of all orders and executions."""
    tally = Tally(name="decisions_of_the_clean_run", claim="Orders and executions are those of the run without a fault, id by id.")
    if clean is None:
        tally.not_checked = "this is the run without a fault"
    elif not all(fault.neutral for fault in outcome.faults):
        tally.not_checked = "a fault of the exchange or of the market itself, which decisions may follow"
    else:
        renamed = any(fault.renames for fault in outcome.faults)
        ours, theirs = (Counter(map(_nameless, rows) if renamed else rows) for rows in (decisions, clean.decisions))
        more, fewer = ours - theirs, theirs - ours
        odd = sorted(map(str, (more + fewer).elements()))
        tally.expect_all(theirs.total(), len(odd), f"{more.total()} rows more, {fewer.total()} fewer: {odd[:2]}")
    return tally


def _nameless(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row of _LEDGER without the ids of the order and of its execution."""
    return tuple(value for place, value in enumerate(row) if place not in _IDS)
