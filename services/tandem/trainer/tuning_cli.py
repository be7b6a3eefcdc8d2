"""`tandem tune`: search a sector's hyperparameters, alone or beside other workers on the same study."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from tandem import settings as settings_module
from tandem.adapters.config_files import load_pairs, load_sectors
from tandem.adapters.market_file import load_market_data
from tandem.adapters.new_york import midnight_ns
from tandem.domain.errors import BadSetting
from tandem.domain.ids import SectorId, pair_legs, sector_id
from tandem.trainer.options import TrainingOptions, load_options

if TYPE_CHECKING:
    from tandem.quant.panel import Panel
    from tandem.trainer.span_fit import SectorTask
    from tandem.trainer.tuning_study import OnTrial


def tune(
    *,
    sector: Annotated[str, typer.Option(help="The sector whose network is searched.")],
    data: Annotated[Path, typer.Option(help="Parquet file of trades, bars or closes.")],
    trials: Annotated[int, typer.Option(min=1, help="Finished trials that the study has in the end, those of other workers included.")],
    out: Annotated[Path | None, typer.Option(help="YAML to write: the best hyperparameters, to go over config/training.yaml.")] = None,
    study: Annotated[str, typer.Option(help="Its name; default: sector, bar and data. The same name goes on with the same study.")] = "",
    storage: Annotated[str, typer.Option(help="postgresql://... or sqlite:///file (one worker only); default: TANDEM_POSTGRES_URL.")] = "",
    bar: Annotated[str, typer.Option(help="Length of a bar: 1min, 5min or 1d.")] = "1d",
    tune_to: Annotated[
        str, typer.Option("--to", help="First day that is no longer read, YYYY-MM-DD in New York; default: after the data's last.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the best trial as JSON.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the drawings and the networks; default: of config/training.yaml.")] = None,
) -> None:
    """Search for hyperparameters by validation loss, never on the bars that the walk-forward tests on.

    Start it as often as wanted with the same --study: the workers share the trials. One that is killed costs its trial's time only.
    """
    # Here, because torch and Optuna take seconds to import and `tandem tune --help` needs neither.
    from tandem.trainer.tuning import TuningRule, defaults, objective, write_overlay  # noqa: PLC0415
    from tandem.trainer.tuning_study import Study  # noqa: PLC0415

    settings = settings_module.load()
    url = storage or settings.postgres_url.get_secret_value()
    if not url:
        raise BadSetting("neither --storage nor TANDEM_POSTGRES_URL is given: the study would be kept nowhere")
    options = load_options(settings.config_dir / "training.yaml")
    if seed is not None:
        options = options.model_copy(update={"network": options.network.model_copy(update={"seed": seed})})
    task, panel = _sector_data(data, sector_id(sector), bar=bar, tune_to=tune_to, config_dir=settings.config_dir, options=options)
    rule, name = TuningRule(), study or f"pairs_trading/{task.sector}/{bar}-{task.data_digest[:12]}"
    about = {
        "data_digest": task.data_digest,
        "sector": task.sector,
        "bar": bar,
        "last_close_ns": str(int(panel.close_ns[-1])),
        "options": options.model_dump_json(exclude={"network": {"seed"}}),
        "seed": str(options.network.seed),
    }
    shared = Study(url, name, about=about, first=defaults(options, rule.space), seed=options.network.seed)
    with _progress(trials) as on_trial:
        best = shared.run(objective(task, panel, options, rule), trials, on_trial=on_trial)
    if out is not None:
        write_overlay(out, best, study=name)
    if json:
        typer.echo(orjson.dumps({"study": name} | asdict(best), option=orjson.OPT_INDENT_2).decode())
        return
    typer.echo(f"{name}: trial {best.number} of {best.trials}, validation loss {best.value:.6f}")
    for key, value in best.parameters.items():
        typer.echo(f"  {key}: {value}")


def _sector_data(
    path: Path, sector: SectorId, *, bar: str, tune_to: str, config_dir: Path, options: TrainingOptions
) -> "tuple[SectorTask, Panel]":
    """The sector's prices up to `tune_to`, as the trainer would read them."""
    from tandem.trainer.data import sound_panel, training_panel  # noqa: PLC0415  (see tune)
    from tandem.trainer.span_fit import SectorTask  # noqa: PLC0415

    declared = tuple(spec.pair for spec in load_pairs(config_dir) if spec.sector == sector)
    market = load_market_data(path, drop_bad=True)
    event_ns = market.ticks["event_ns"]
    names = sorted({*load_sectors(config_dir).preset_symbols(sector), *(leg for pair in declared for leg in pair_legs(pair))})
    to_ns = midnight_ns(tune_to) if tune_to else int(event_ns[-1]) + 1
    panel, slots = training_panel(market, sector, names, bar=bar, from_ns=int(event_ns[0]), to_ns=to_ns)
    panel, _ = sound_panel(panel, bar=bar, options=options)
    return SectorTask(sector=sector, bar=bar, slots=slots, declared=declared, data_digest=market.digest), panel


@contextmanager
def _progress(trials: int) -> Iterator["OnTrial"]:
    """A bar on stderr that counts the whole study's finished trials."""
    from rich.console import Console  # noqa: PLC0415  (0.1 s)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("trials", total=trials)

        def show(finished: int, best: float | None) -> None:
            best_text = "" if best is None else f", best {best:.5f}"
            bars.update(task, completed=finished, description=f"trials{best_text}")

        yield show
