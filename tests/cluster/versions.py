"""The model versions of the scenario: one training, registered with its volatility as fitted, and with one that is known to be wrong.

A volatility that is taken for two and a half times what was fitted makes a variance some four times too large (the filter takes a part
back), which costs about ln 4 - 3/4 = 0.64 of QLIKE: within some dozens of bars no gate can miss that, and the version as fitted is
as plainly better.
"""

import io
import logging
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from tandem.adapters.config_files import load_sectors
from tandem.adapters.market_file import load_market_data
from tandem.adapters.registry_rest import Registry
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId
from tandem.domain.units import ns_of_rfc3339
from tandem.quant.bundle import Bundle
from tandem.trainer.options import load_options
from tandem.trainer.sectors import SectorTraining, recorded_of, register_sector, train_from_market

SECTOR = SectorId("consumer")
PAIRS = (PairId("KO-PEP"), PairId("HD-WMT"), PairId("PEP-PG"), PairId("KO-PG"))
CONFIG = Path(__file__).parents[2] / "config"
_FROM_NS, _TO_NS = ns_of_rfc3339("2009-01-01T05:00:00Z"), ns_of_rfc3339("2014-01-01T05:00:00Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What was trained, and where versions of it are registered."""

    training: SectorTraining
    tracking_uri: str

    def register(self, volatility: float) -> ModelRef:
        """Register a version that takes the spread's volatility for so many times what was fitted; 1 is the best of what is known."""
        bundle = _scaled(self.training.training.bundle, volatility)
        recorded = recorded_of(bundle, self.training.panel)
        import_module("mlflow")  # which sets its logs up, so that it is done before ours
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        with redirect_stdout(io.StringIO()):  # it prints each version that it makes
            return register_sector(self.tracking_uri, bundle, recorded=recorded)

    def quarantined(self, ref: ModelRef) -> str:
        """Why the registry says that a version must not be used; empty when it does not."""
        with Registry(self.tracking_uri) as registry:
            return next((version.quarantined for version in registry.versions(ref.name) if version.version == ref.version), "")


def train(folder: Path) -> SectorTraining:
    """Train the scenario's pairs on the recording that the recycler replays, up to where its replay begins."""
    data = load_market_data(skfolio_dataset(folder / "stocks.parquet"), to_ns=_TO_NS)
    symbols = tuple(symbol for symbol in load_sectors(CONFIG).active_symbols(SECTOR) if symbol in data.symbols)
    return train_from_market(
        data,
        SECTOR,
        symbols=symbols,
        declared=PAIRS,
        bar="1d",
        from_ns=_FROM_NS,
        to_ns=_TO_NS,
        options=load_options(CONFIG / "training.yaml"),
    )


def _scaled(bundle: Bundle, volatility: float) -> Bundle:
    pairs = (replace(pair, volatility=replace(pair.volatility, scale=pair.volatility.scale * volatility)) for pair in bundle.pairs)
    return replace(bundle, pairs=tuple(pairs))
