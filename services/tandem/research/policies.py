"""How a backtest chooses what it trades: each policy sees the bars of one training window and nothing else.

  declared  the pairs of config/pairs; the trainer fits them. People chose them knowing what became of them: say so next to any result.
  fdr       the pairs that pass the trainer's screening (Engle-Granger under false-discovery control); none is declared.
  seed      the pairs that pass the gates of the system that Tandem grew from, in their corrected form; the trainer fits them.
  distance  the closest pairs of Gatev, Goetzmann and Rouwenhorst, by their rules; no model (policy_distance.py).

A window without a pair trades nothing and says why. Called by backtest_run.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.control import PairSpec
from tandem.domain.forecasts import ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId, pair_legs
from tandem.domain.market import Heartbeat, SessionGrid, TickFrame
from tandem.flow import sector as sector_flow
from tandem.flow.sector import SectorModel
from tandem.quant.bundle import Bundle, model_name
from tandem.quant.composite import SeedRule, seed_picks
from tandem.quant.panel import Panel
from tandem.research.backtest_replay import Forecaster
from tandem.trainer.main import NoPairs, SectorTask, train_sector
from tandem.trainer.options import TrainingOptions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowData:
    """All that a policy may look at. panel: the training bars only; grid: sessions, for serving."""

    number: int
    sector: SectorId
    bar: str
    slots: int
    panel: Panel
    grid: SessionGrid
    data_digest: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """What a policy trades in one window. tested: pairs that it looked at; note: what a reader should know, "" for nothing."""

    specs: Mapping[PairId, PairSpec]
    forecaster: Forecaster
    digest: str
    tested: int
    note: str = ""


class Policy(Protocol):
    """A way to choose."""

    @property
    def name(self) -> str:
        """For the report and the command line."""
        ...

    @property
    def says(self) -> str:
        """One sentence for the report."""
        ...

    def prepare(self, window: WindowData) -> Prepared:
        """Choose and fit on the window's bars. Raises Permanent when the window can be used for nothing."""
        ...


class ModelForecaster:
    """A bundle at work: the same step as in the forecaster service."""

    def __init__(self, bundle: Bundle, version: str, grid: SessionGrid) -> None:
        self.version = version
        ref = ModelRef(name=model_name(bundle.sector), version=version, digest=bundle.digest)
        self._model = SectorModel(bundle=bundle, ref=ref, network=OnnxNetwork(bundle.onnx), grid=grid)
        self._state = sector_flow.initial_sector(self._model)

    def step(self, event: TickFrame | Heartbeat) -> tuple[ForecastBatch, ...]:
        """The batches that this record completes."""
        self._state, batches = sector_flow.step(self._model, self._state, event)
        return batches


class IdleForecaster:
    """A sector without a model: watermarks only, so that what is still on its way is looked after."""

    def __init__(self, sector: SectorId, version: str) -> None:
        self.version = version
        self._ref = ModelRef(name=model_name(sector), version=version, digest="")

    def step(self, event: TickFrame | Heartbeat) -> tuple[ForecastBatch, ...]:
        """An empty batch for each heartbeat."""
        if isinstance(event, TickFrame):
            return ()
        return (
            ForecastBatch(
                sector=event.sector,
                model=self._ref,
                source=event.source,
                replay_id=event.replay_id,
                bar_close_ns=event.watermark_ns,
                lockstep=event.lockstep,
                end_of_stream=event.end_of_stream,
                forecasts=(),
            ),
        )


def idle(window: WindowData, *, tested: int, note: str) -> Prepared:
    """A window that trades nothing."""
    return Prepared(specs={}, forecaster=IdleForecaster(window.sector, str(window.number)), digest="", tested=tested, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms on which chosen pairs trade where nobody has declared any. None: as declared, or the record's default."""

    notional_usd: Decimal | None = None
    probability_min: float | None = None

    def applied(self, spec: PairSpec) -> PairSpec:
        """A specification on these terms."""
        return PairSpec(
            pair=spec.pair,
            sector=spec.sector,
            leg_a=spec.leg_a,
            leg_b=spec.leg_b,
            entry_z=spec.entry_z,
            exit_z=spec.exit_z,
            stop_z=spec.stop_z,
            probability_min=spec.probability_min if self.probability_min is None else self.probability_min,
            notional_usd=self.notional_usd or spec.notional_usd,
            hold_half_lives_max=spec.hold_half_lives_max,
            suspended=spec.suspended,
        )


Choose = Callable[[WindowData], tuple[tuple[PairId, ...], int]]  # pairs, and how many were looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPolicy:
    """The trainer fits what `choose` names, and with options.screening.screened_max above 0 what its own screening passes."""

    name: str
    says: str
    options: TrainingOptions
    choose: Choose
    specs: Mapping[PairId, PairSpec] = field(default_factory=dict)  # terms of declared pairs
    terms: Terms = field(default_factory=Terms)

    def prepare(self, window: WindowData) -> Prepared:
        """Train on the window. A window without a pair is idle, with the trainer's reason."""
        named, tested = self.choose(window)
        if not named and not self.options.screening.screened_max:
            return idle(window, tested=tested, note=f"no pair: {tested} were looked at")
        task = SectorTask(sector=window.sector, bar=window.bar, slots=window.slots, declared=named, data_digest=window.data_digest)
        try:
            bundle = train_sector(task, window.panel, self.options)
        except NoPairs as error:
            return idle(window, tested=max(tested, len(error.tests)), note=str(error))
        return Prepared(
            specs={model.pair: self._spec(model.pair, window.sector) for model in bundle.pairs},
            forecaster=ModelForecaster(bundle, str(window.number), window.grid),
            digest=bundle.digest,
            tested=max(tested, len(bundle.tests)),
            note="; ".join(f"rejected {r.pair}: {r.reason}" for r in bundle.rejections),
        )

    def _spec(self, pair: PairId, sector: SectorId) -> PairSpec:
        leg_a, leg_b = pair_legs(pair)
        return self.terms.applied(self.specs.get(pair) or PairSpec(pair=pair, sector=sector, leg_a=leg_a, leg_b=leg_b))


def declared_policy(specs: Sequence[PairSpec], options: TrainingOptions, terms: Terms) -> TrainedPolicy:
    """The declared pairs of a sector, and no other."""
    pairs = tuple(spec.pair for spec in specs)
    return TrainedPolicy(
        name="declared",
        says="Pairs declared in config/pairs, fitted by the trainer on each training window. People chose them with hindsight.",
        options=_screening(options, screened_max=0),
        choose=lambda _: (pairs, len(pairs)),
        specs={spec.pair: spec for spec in specs},
        terms=terms,
    )


def fdr_policy(options: TrainingOptions, terms: Terms) -> TrainedPolicy:
    """What the trainer's screening passes."""
    return TrainedPolicy(
        name="fdr",
        says="Pairs that pass the trainer's screening on each training window: Engle-Granger in both directions, "
        f"false-discovery rate {options.screening.false_discovery_rate:g} over all tests, at most {options.screening.screened_max} pairs.",
        options=options,
        choose=lambda _: ((), 0),
        terms=terms,
    )


def seed_policy(options: TrainingOptions, terms: Terms) -> TrainedPolicy:
    """The old gates, put right (quant/composite.py); at most screened_max pairs, the best composite first."""
    rule, most = SeedRule(cost_bps=options.cost_bps, bars_min=options.bars_min), options.screening.screened_max

    def choose(window: WindowData) -> tuple[tuple[PairId, ...], int]:
        panel = window.panel
        picks, tested = seed_picks({name: panel.log_close(name) for name in panel.symbols}, rule)
        return tuple(pick.pair for pick in picks[:most]), tested

    return TrainedPolicy(
        name="seed",
        says=f"Pairs that pass the gates of the earlier system on each training window: correlation of returns above "
        f"{rule.correlation_min:g}, Engle-Granger p below {rule.p_value_max:g}, composite above {rule.composite_min:g}; no control for the "
        "number of pairs looked at.",
        options=_screening(options, screened_max=0),
        choose=choose,
        terms=terms,
    )


def scored_elsewhere(options: TrainingOptions, *, epochs_max: int | None = None, seed: int | None = None) -> TrainingOptions:
    """The trainer's options without its own walk-forward scores: the backtest is the score. epochs_max 0: plain GARCH, no network."""
    network: dict[str, int] = {}
    if epochs_max is not None:
        network["epochs_max"] = epochs_max
    if seed is not None:
        network["seed"] = seed
    changed = {"network": options.network.model_copy(update=network)}
    return options.model_copy(update=changed | {"walk_forward": options.walk_forward.model_copy(update={"folds": 0})})


def _screening(options: TrainingOptions, *, screened_max: int) -> TrainingOptions:
    return options.model_copy(update={"screening": options.screening.model_copy(update={"screened_max": screened_max})})
