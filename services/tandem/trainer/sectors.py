"""Training a sector in two halves: fit (needs no server), register (needs MLflow). Called by the CLI, the demo and the pre-market run."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from tandem.adapters.calendar import session_grid
from tandem.adapters.market_file import MarketData
from tandem.adapters.mlflow_registry import log_and_register, promote, resolve_alias, set_alias
from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.errors import BadSetting
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol, pair_legs
from tandem.domain.market import SessionGrid
from tandem.flow.decision_digest import Recording, recording
from tandem.quant.bundle import Bundle, RejectedSymbol, decode, encode
from tandem.quant.panel import Panel
from tandem.quant.recorded_span import record_span
from tandem.rollout.registry_names import CANDIDATE, CHAMPION
from tandem.trainer.card import model_card, model_summary
from tandem.trainer.data import sound_panel, training_panel
from tandem.trainer.main import Progress, SectorTask, Training, train
from tandem.trainer.options import TrainingOptions

if TYPE_CHECKING:
    from tandem.trainer.card_figures import Card


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SectorTraining:
    """A training, the prices that it was made from, and what the replay gate will run; None where the span is too short for that."""

    training: Training
    panel: Panel
    slots: int  # bars in the longest session
    recorded: Recording | None


def fit_sector(
    data: MarketData,
    sector: SectorId,
    *,
    symbols: Sequence[Symbol],
    declared: Sequence[PairId],
    bar: str,
    from_ns: int,
    to_ns: int,
    options: TrainingOptions,
) -> Bundle:
    """A sector's bundle from the ticks in [from_ns, to_ns). See `train_from_market`."""
    trained = train_from_market(data, sector, symbols=symbols, declared=declared, bar=bar, from_ns=from_ns, to_ns=to_ns, options=options)
    return trained.training.bundle


def train_from_market(
    data: MarketData,
    sector: SectorId,
    *,
    symbols: Sequence[Symbol],
    declared: Sequence[PairId],
    bar: str,
    from_ns: int,
    to_ns: int,
    options: TrainingOptions,
    trial: int = 1,
    trials: int = 1,
    progress: Progress | None = None,
) -> SectorTraining:
    """Train a sector on the ticks in [from_ns, to_ns).

    symbols: those that screening may pair; legs of declared pairs are added. A symbol whose prices are not fit to be used is left out and
    recorded with its reason. Raises NoPairs or SpanTooShort.
    """
    names = dict.fromkeys([*symbols, *(leg for pair in declared for leg in pair_legs(pair))])
    panel, slots = training_panel(data, sector, tuple(sorted(names)), bar=bar, from_ns=from_ns, to_ns=to_ns)
    panel, defects = sound_panel(panel, bar=bar, options=options)
    unread = [found for found in data.rejections if found.symbol in names]
    task = SectorTask(
        sector=sector,
        bar=bar,
        slots=slots,
        declared=tuple(declared),
        data_digest=data.digest,
        rejected=tuple(RejectedSymbol(symbol=found.symbol, reason=found.reason, detail=found.detail) for found in (*unread, *defects)),
        trial=trial,
        trials=trials,
    )
    training = train(task, panel, options, progress=progress)
    return SectorTraining(training=training, panel=panel, slots=slots, recorded=recorded_of(training.bundle, panel))


def recorded_of(bundle: Bundle, panel: Panel, grid: SessionGrid | None = None) -> Recording | None:
    """What the bundle decides on the last bars of the panel that it was trained on; None where they are too few.

    grid: the sessions of the panel; the exchange's by default.
    """
    if grid is None:
        grid = session_grid(bundle.bar, int(panel.close_ns[0]), int(panel.close_ns[-1]))
    with threadpool_limits(limits=1):
        span = record_span(bundle, panel, grid)
        return None if span is None else recording(bundle, OnnxNetwork(bundle.onnx), span)


def register_sector(
    tracking_uri: str,
    bundle: Bundle,
    *,
    card: "Card | None" = None,
    promoted: bool = False,
    commit: str = "",
    recorded: Recording | None = None,
) -> ModelRef:
    """Log and register a bundle, with its card. It becomes the champion when `promoted` or when there is none, else the candidate.

    Raises Transient without a server.
    """
    ref = log_and_register(
        tracking_uri,
        bundle,
        card.text if card else model_card(bundle),
        summary=card.summary if card else model_summary(bundle),
        figures=card.figures if card else {},
        commit=commit or commit_here(),
        recorded=recorded,
    )
    champion = resolve_alias(tracking_uri, ref.name, CHAMPION)
    if promoted or champion is None:
        promote(tracking_uri, ref)
    elif champion != ref.version:
        set_alias(tracking_uri, ref.name, CANDIDATE, ref.version)
    return ref


def commit_here() -> str:
    """The commit of the code that runs, `-dirty` with changes that are not committed; empty where it does not run from a checkout."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(  # noqa: S603  (fixed arguments)
            ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],  # noqa: S607  (PATH's git)
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except OSError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def save_bundle(folder: Path, bundle: Bundle, *, card: "Card | None" = None) -> None:
    """Write a bundle's files into a folder, which is made; the card and its figures into `card` below it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in encode(bundle).items():
        (folder / name).write_bytes(content)
    if card is not None:
        (folder / "card").mkdir(exist_ok=True)
        (folder / "card" / "model_card.md").write_text(card.text)
        for name, content in card.figures.items():
            (folder / "card" / name).write_bytes(content)


def read_bundle(folder: Path) -> Bundle:
    """The bundle in a folder. Raises BadSetting when there is none, BadRecord when it does not verify."""
    if not folder.is_dir():
        raise BadSetting(f"{folder}: no such folder")
    return decode({file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()})
