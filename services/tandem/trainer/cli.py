"""`tandem train`: one sector, from a data file to a registered version."""

from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from tandem import settings as settings_module
from tandem.adapters.config_files import load_pairs, load_sectors
from tandem.adapters.market_file import load_market_data
from tandem.domain.errors import BadSetting
from tandem.domain.ids import PairId, SectorId, pair_id, pair_legs, sector_id
from tandem.domain.units import ns_of
from tandem.trainer.options import TrainingOptions, load_options

_NEW_YORK = ZoneInfo("America/New_York")


def train(
    sector: Annotated[str, typer.Argument(help="The sector to train.")],
    *,
    data: Annotated[Path, typer.Option(help="Parquet file of trades or bars.")],
    train_from: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD in New York; default: the data's first.")] = "",
    train_to: Annotated[str, typer.Option("--to", help="First day that is no longer trained on; default: after the data's last.")] = "",
    bar: Annotated[str, typer.Option(help="1min, 5min or 1d.")] = "1d",
    pair: Annotated[list[str] | None, typer.Option(help="A-B, repeatable; default: the pairs declared in config/pairs.")] = None,
    tracking_uri: Annotated[str, typer.Option(help="MLflow server; default: MLFLOW_TRACKING_URI; none: only --output.")] = "",
    output: Annotated[Path | None, typer.Option(help="Folder to write the bundle to.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the one in config/training.yaml.")] = None,
) -> None:
    """Select and fit pairs on the span, train the network, score it on a hold-out, register the bundle as champion."""
    # Here, because torch takes seconds to import and `tandem train --help` needs none of it.
    from tandem.trainer.sectors import fit_sector, register_sector, save_bundle  # noqa: PLC0415

    settings = settings_module.load()
    tracking_uri = tracking_uri or settings.mlflow_tracking_uri
    if not tracking_uri and output is None:
        raise BadSetting("neither MLFLOW_TRACKING_URI nor --output is given: the bundle would go nowhere")
    name = sector_id(sector)
    options = _options(settings.config_dir, seed)
    sectors = load_sectors(settings.config_dir)
    market = load_market_data(data)
    event_ns = market.ticks["event_ns"]
    bundle = fit_sector(
        market,
        name,
        symbols=sectors.preset_symbols(name),
        declared=_declared(settings.config_dir, name, pair),
        bar=bar,
        from_ns=_midnight_ns(train_from) if train_from else int(event_ns[0]),
        to_ns=_midnight_ns(train_to) if train_to else int(event_ns[-1]) + 1,
        options=options,
    )
    for rejection in bundle.rejections:
        typer.echo(f"rejected {rejection.pair}: {rejection.reason}: {rejection.detail}", err=True)
    typer.echo(f"{name}: pairs {', '.join(p.pair for p in bundle.pairs)}; digest {bundle.digest}")
    if output is not None:
        save_bundle(output, bundle)
    if tracking_uri:
        ref = register_sector(tracking_uri, bundle)
        typer.echo(f"{ref.name} version {ref.version}: champion")


def _options(config_dir: Path, seed: int | None) -> TrainingOptions:
    options = load_options(config_dir / "training.yaml")
    if seed is None:
        return options
    return options.model_copy(update={"network": options.network.model_copy(update={"seed": seed})})


def _declared(config_dir: Path, sector: SectorId, named: list[str] | None) -> tuple[PairId, ...]:
    if not named:
        return tuple(spec.pair for spec in load_pairs(config_dir) if spec.sector == sector)
    try:
        return tuple(pair_id(*pair_legs(text.upper())) for text in named)
    except ValueError as error:
        raise BadSetting(f"--pair: {error}") from error


def _midnight_ns(day: str) -> int:
    try:
        return ns_of(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=_NEW_YORK))
    except ValueError as error:
        raise BadSetting(f"day {day!r}: expected YYYY-MM-DD") from error
