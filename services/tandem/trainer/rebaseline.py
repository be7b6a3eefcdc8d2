"""One sector's pre-market run: is a new model needed, train it, let it through the gates or not, write down why.

A candidate is registered under the alias `candidate` when every gate passes, and not at all otherwise; the champion is never touched here.
Every run ends in a row of rebaseline_decisions, and a day that has one is done. Called by trainer/rebaseline_cli.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tandem.adapters.config_files import Sectors
from tandem.adapters.decision_log import Decision, DecisionLog, Outcome
from tandem.adapters.market_file import MarketData
from tandem.adapters.mlflow_registry import load_bundle, log_and_register, resolve_alias, set_alias
from tandem.adapters.model_history import ModelHistory
from tandem.domain.errors import BadSetting, Permanent, Transient
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol, pair_legs
from tandem.domain.units import utc
from tandem.quant.bundle import Bundle, model_name
from tandem.quant.panel import Panel
from tandem.rollout.gates import Candidate, Gate, Policy, Standing, gates, needs, wanted
from tandem.rollout.registry_names import CANDIDATE, CHAMPION
from tandem.trainer.card_figures import card_of
from tandem.trainer.data import training_panel
from tandem.trainer.diagnostics import drifts, record_training_run
from tandem.trainer.options import TrainingOptions
from tandem.trainer.schedule import Occasion, sessions_after, span_from_ns
from tandem.trainer.sectors import SectorTraining, commit_here, train_from_market

LoadMarket = Callable[[Sequence[Symbol], int, int], MarketData]  # symbols, from_ns, to_ns
_LOSSES_MAX = 250  # recent bars of the champion that its validation is compared with


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What all runs of one command share."""

    postgres_url: str
    tracking_uri: str
    sectors: Sectors
    declared: Mapping[SectorId, tuple[PairId, ...]]
    options: TrainingOptions
    bar: str
    market: LoadMarket
    data_source: str  # "file", else the label of the bars in Postgres
    source: str  # of the forecasts that the champion is judged by
    replay_id: str
    sessions: int  # to train on
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one call came to. decision: None when it changed nothing, because the day was decided before or somebody else is at it."""

    sector: SectorId
    outcome: str  # of Outcome, else "decided" or "busy"
    reason: str
    decision: Decision | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Situation:
    """What is known before a decision to train."""

    market: MarketData
    from_ns: int
    to_ns: int
    champion: tuple[ModelRef, Bundle] | None
    standing: Standing | None


def rebaseline(setup: Setup, sector: SectorId, day: Occasion, *, now_ns: int, weekly: bool = False, force: bool = False) -> Run:
    """Decide for a sector and a day, once. Raises BadSetting for a wrong configuration, Transient when Postgres is away.

    weekly: train as in the first session of a week. force: decide again. The newest bar that is looked at closes by the day's 06:00, so
    that the answer does not depend on the minute of the run.
    """
    log = DecisionLog(setup.postgres_url)
    with log.lock(sector, setup.bar, setup.data_source) as ours:
        if not ours:
            return Run(sector=sector, outcome="busy", reason="another run of this sector is at work")
        if not force and (row := log.decided(sector, setup.bar, setup.data_source, day.day)) is not None:
            return Run(sector=sector, outcome="decided", reason=f"decided before for {day.day}: {row['outcome']}: {row['reason']}")
        blank = Decision(
            sector=sector,
            timeframe=setup.bar,
            source=setup.data_source,
            session_day=day.day,
            outcome=Outcome.SKIPPED,
            reason=day.reason,
            weekly=weekly or day.first_of_week,
            half_day=day.half_day,
            decided_ns=now_ns,
            model_name=model_name(sector),
        )
        decision = _decide(setup, blank, day) if day.is_session else blank
        log.record(decision)
        return Run(sector=sector, outcome=str(decision.outcome), reason=decision.reason, decision=decision)


def _decide(setup: Setup, blank: Decision, day: Occasion) -> Decision:
    try:
        now = _situation(setup, blank, day)
    except BadSetting:
        raise
    except (Transient, Permanent) as error:
        return replace(blank, outcome=Outcome.FAILED, reason=str(error))
    found = needs(now.standing, weekly=blank.weekly, policy=setup.policy)
    known = replace(blank, needs=found, data_digest=now.market.digest)
    if now.champion is not None:
        known = replace(known, champion_version=now.champion[0].version, champion_digest=now.champion[0].digest)
    if not wanted(found, now.standing):
        no_bar = now.standing is not None and now.standing.new_bars == 0
        return replace(known, outcome=Outcome.NOT_NEEDED, reason="no bar that the champion has not seen" if no_bar else "no need was found")
    return _trained(setup, known, day, now)


def _trained(setup: Setup, known: Decision, day: Occasion, now: _Situation) -> Decision:
    declared = setup.declared.get(known.sector, ())
    try:
        trained = train_from_market(
            now.market,
            known.sector,
            symbols=setup.sectors.preset_symbols(known.sector),
            declared=declared,
            bar=setup.bar,
            from_ns=now.from_ns,
            to_ns=now.to_ns,
            options=setup.options,
        )
    except BadSetting:
        raise
    except Permanent as error:
        return replace(known, outcome=Outcome.REJECTED, reason=str(error), gates=(Gate(name="trained", passed=False, reason=str(error)),))
    bundle = trained.training.bundle
    candidate = Candidate(
        bundle=bundle,
        champion=None if now.champion is None else now.champion[1],
        declared=declared,
        sessions_behind=sessions_after(bundle.trained_to_ns, day.previous_close_ns),
        bars_min=setup.options.bars_min,
    )
    passed = gates(candidate, setup.policy)
    closed = [gate for gate in passed if not gate.passed]
    judged = replace(
        known,
        gates=passed,
        metrics=bundle.metrics,
        model_digest=bundle.digest,
        trained_from_ns=bundle.trained_from_ns,
        trained_to_ns=bundle.trained_to_ns,
    )
    if closed:
        return replace(judged, outcome=Outcome.REJECTED, reason="; ".join(f"{gate.name}: {gate.reason}" for gate in closed))
    return _registered(setup, judged, trained)


def _registered(setup: Setup, judged: Decision, trained: SectorTraining) -> Decision:
    bundle, card = trained.training.bundle, card_of(trained.training)
    try:
        ref = log_and_register(
            setup.tracking_uri,
            bundle,
            card.text,
            summary=card.summary,
            figures=card.figures,
            commit=commit_here(),
            recorded=trained.recorded,
        )
        set_alias(setup.tracking_uri, ref.name, CANDIDATE, ref.version)
    except Transient as error:
        return replace(judged, outcome=Outcome.FAILED, reason=str(error))
    source, replay_id = setup.data_source, setup.replay_id
    record_training_run(setup.postgres_url, bundle, ref, trained.panel, slots=trained.slots, source=source, replay_id=replay_id)
    reason = ", ".join(need.name for need in judged.needs if need.found)
    return replace(judged, outcome=Outcome.REGISTERED, model_version=ref.version, reason=f"every gate passed; trained because of: {reason}")


def _situation(setup: Setup, blank: Decision, day: Occasion) -> _Situation:
    to_ns = min(blank.decided_ns, day.run_ns)
    from_ns = span_from_ns(to_ns, setup.sessions)
    champion = _champion(setup, blank.model_name)
    pairs = [*setup.declared.get(blank.sector, ()), *((pair.pair for pair in champion[1].pairs) if champion else ())]
    wanted_symbols = {*setup.sectors.preset_symbols(blank.sector), *(leg for pair in pairs for leg in pair_legs(pair))}
    symbols = tuple(sorted(wanted_symbols))
    market = setup.market(symbols, from_ns, to_ns)
    panel, _ = training_panel(market, blank.sector, symbols, bar=setup.bar, from_ns=from_ns, to_ns=to_ns)
    return _Situation(
        market=market,
        from_ns=from_ns,
        to_ns=to_ns,
        champion=champion,
        standing=None if champion is None else _standing(setup, champion, panel, to_ns),
    )


def _champion(setup: Setup, name: str) -> tuple[ModelRef, Bundle] | None:
    version = resolve_alias(setup.tracking_uri, name, CHAMPION)
    return None if version is None else load_bundle(setup.tracking_uri, name, version)


def _standing(setup: Setup, champion: tuple[ModelRef, Bundle], panel: Panel, to_ns: int) -> Standing:
    ref, bundle = champion
    losses, garch_losses = ModelHistory(setup.postgres_url).recent_losses(
        ref, source=setup.source, replay_id=setup.replay_id, as_of_ns=to_ns, bars=_LOSSES_MAX
    )
    return Standing(
        champion=bundle,
        age_sessions=sessions_after(bundle.trained_to_ns, to_ns),
        new_bars=int(np.count_nonzero(panel.close_ns > bundle.trained_to_ns)),
        losses=losses,
        garch_losses=garch_losses,
        drifts=drifts(panel, bundle),
    )


def told(run: Run) -> str:
    """One line for a person."""
    decision = run.decision
    version = f" version {decision.model_version}" if decision and decision.model_version else ""
    span = f", trained to {utc(decision.trained_to_ns):%Y-%m-%d}" if decision and decision.trained_to_ns is not None else ""
    return f"{run.sector}: {run.outcome}{version}{span}: {run.reason}"
