"""Training a sector from a data file in two halves: fit (needs no server), register (needs MLflow). Called by the CLI and the demo."""

from collections.abc import Sequence
from pathlib import Path

from tandem.adapters.market_file import MarketData
from tandem.adapters.mlflow_registry import log_and_register, promote
from tandem.domain.errors import BadSetting
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol, pair_legs
from tandem.quant.bundle import Bundle, decode, encode
from tandem.trainer.card import model_card
from tandem.trainer.data import training_panel
from tandem.trainer.main import SectorTask, train_sector
from tandem.trainer.options import TrainingOptions


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
    """A sector's bundle from the ticks in [from_ns, to_ns).

    symbols: those that screening may pair; legs of declared pairs are added. Raises NoPairs or SpanTooShort.
    """
    names = dict.fromkeys([*symbols, *(leg for pair in declared for leg in pair_legs(pair))])
    panel, slots = training_panel(data, sector, tuple(sorted(names)), bar=bar, from_ns=from_ns, to_ns=to_ns)
    task = SectorTask(sector=sector, bar=bar, slots=slots, declared=tuple(declared), data_digest=data.digest)
    return train_sector(task, panel, options)


def register_sector(tracking_uri: str, bundle: Bundle) -> ModelRef:
    """Log and register a bundle and make it the champion. Raises Transient without a server."""
    ref = log_and_register(tracking_uri, bundle, model_card(bundle))
    promote(tracking_uri, ref)
    return ref


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write a bundle's files into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in encode(bundle).items():
        (folder / name).write_bytes(content)


def read_bundle(folder: Path) -> Bundle:
    """The bundle in a folder. Raises BadSetting when there is none, BadRecord when it does not verify."""
    if not folder.is_dir():
        raise BadSetting(f"{folder}: no such folder")
    return decode({file.name: file.read_bytes() for file in folder.iterdir()})
