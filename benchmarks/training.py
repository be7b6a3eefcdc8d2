"""Seconds to train one sector on daily closes of 20 US stocks: walk-forward, fit and all. Run: python benchmarks/training.py

One network and an ensemble of five, on one core (BLAS threads 1). What the parts take is measured in the same run.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from tandem.adapters.config_files import load_pairs, load_sectors
from tandem.adapters.market_file import load_market_data
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.domain.ids import SectorId, pair_legs
from tandem.quant.history import fold
from tandem.trainer.data import sound_panel, training_panel
from tandem.trainer.main import SectorTask, fit_span, train
from tandem.trainer.options import TrainingOptions, load_options
from tandem.trainer.pair_fits import fit_pairs

CONFIG = Path(__file__).parents[1] / "config"
SECTOR, BAR = SectorId("consumer"), "1d"
FROM_NS, TO_NS = 1_325_376_000 * 10**9, 1_483_228_800 * 10**9  # 2012-01-01 to 2017-01-01, the demo's training span
Result = TypeVar("Result")


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of processor time, and what came of it."""
    start_s = time.process_time()
    result = call()
    return time.process_time() - start_s, result


def with_members(options: TrainingOptions, members: int) -> TrainingOptions:
    """The product's options with so many networks in the bundle; one in each fold."""
    return options.model_copy(update={"network": options.network.model_copy(update={"members": members})})


def with_epochs(options: TrainingOptions, epochs: int) -> TrainingOptions:
    """The options with at most so many epochs."""
    return options.model_copy(update={"network": options.network.model_copy(update={"epochs_max": epochs})})


def main() -> None:
    """Print the table."""
    options = load_options(CONFIG / "training.yaml")
    declared = tuple(spec.pair for spec in load_pairs(CONFIG) if spec.sector == SECTOR)
    with TemporaryDirectory() as folder:
        data = load_market_data(skfolio_dataset(Path(folder) / "stocks.parquet"))
    wanted = {*load_sectors(CONFIG).sectors[SECTOR], *(leg for pair in declared for leg in pair_legs(pair))}
    panel, slots = training_panel(data, SECTOR, tuple(sorted(wanted)), bar=BAR, from_ns=FROM_NS, to_ns=TO_NS)
    panel, _ = sound_panel(panel, bar=BAR, options=options)
    task = SectorTask(sector=SECTOR, bar=BAR, slots=slots, declared=declared, data_digest=data.digest)
    with threadpool_limits(limits=1):
        fit_pairs(panel, declared, slots, options)  # compiles, or reads what was compiled
        pairs_s, fits = timed(lambda: fit_pairs(panel, declared, slots, options))
        fold_s, _ = timed(lambda: fold(panel, fits.pairs))
    fit_span(task, panel, with_epochs(options, 0))  # torch's first call
    print(f"sector {SECTOR}: {len(panel.symbols)} stocks, {len(panel.close_ns)} days, {len(fits.tests)} pairs tested, {len(fits.pairs)} in")
    print(f"  device of the network: {'cuda' if torch.cuda.is_available() else 'cpu'}; times are of the processor")
    print(f"  screening and {len(options.volatility.kinds) * len(options.volatility.shocks)} variance models a pair {pairs_s:8.2f} s")
    print(f"  the filter over the span, step by step       {fold_s:8.2f} s")
    for members in (1, 5):
        chosen = with_members(options, members)
        one_s, _ = timed(partial(fit_span, task, panel, chosen))
        all_s, training = timed(partial(train, task, panel, chosen))
        metrics = training.bundle.metrics
        print(f"  {members} network(s): one fit {one_s:8.2f} s ({metrics['epochs']:.0f} epochs)")
        print(f"      and with {metrics['holdout_folds']:.0f} folds scored before it {all_s:8.2f} s")


if __name__ == "__main__":
    main()
