"""`tandem train`: one sector, from a data file or the stored bars to a registered version."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from pydantic import SecretStr

from tandem import settings as settings_module
from tandem.adapters.config_files import load_pairs, load_sectors
from tandem.adapters.market_file import MarketData, load_market_data
from tandem.adapters.new_york import midnight_ns
from tandem.domain.errors import BadSetting, Transient
from tandem.domain.ids import PairId, SectorId, Symbol, pair_id, pair_legs, sector_id
from tandem.domain.market import Source
from tandem.domain.units import NS_PER_MS
from tandem.local.home import state, supervisor_pid
from tandem.settings import Settings
from tandem.trainer.options import TrainingOptions, load_options

if TYPE_CHECKING:
    from tandem.domain.forecasts import ModelRef
    from tandem.trainer.main import Progress
    from tandem.trainer.sectors import SectorTraining

_POSTGRES = "postgres"
_FOREVER_NS = 2**62  # year 2116: every bar that is stored


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What was asked for on the command line, read and checked."""

    sector: SectorId
    symbols: tuple[Symbol, ...]
    declared: tuple[PairId, ...]
    bar: str
    from_ns: int
    to_ns: int
    options: TrainingOptions
    trial: int
    trials: int


def train(
    named: Annotated[str, typer.Argument(metavar="[SECTOR]", help="The sector to train; or by --sector.", show_default=False)] = "",
    *,
    sector: Annotated[str, typer.Option(help="The sector to train.")] = "",
    data: Annotated[str, typer.Option(help="Parquet file of trades, bars or closes; or `postgres`: the bars that the recorder stored.")],
    train_from: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD in New York; default: the data's first.")] = "",
    train_to: Annotated[str, typer.Option("--to", help="First day that is no longer trained on; default: after the data's last.")] = "",
    bar: Annotated[str, typer.Option(help="1min, 5min or 1d.")] = "1d",
    pair: Annotated[list[str] | None, typer.Option(help="A-B, repeatable; default: the pairs declared in config/pairs.")] = None,
    params: Annotated[Path | None, typer.Option(help="YAML over config/training.yaml, as `tandem tune` writes it.")] = None,
    trial: Annotated[int, typer.Option(min=1, help="Which of the configurations that were tried this is; recorded.")] = 1,
    trials: Annotated[int, typer.Option(min=1, help="How many were tried; the deflated Sharpe ratio charges for them.")] = 1,
    source: Annotated[str, typer.Option(help="Of stored bars: live or paper; recycled only with --replay-id.")] = "",
    replay_id: Annotated[str, typer.Option(help="The replay whose stored bars are trained on.")] = "",
    tracking_uri: Annotated[
        str, typer.Option(help="MLflow server; default: MLFLOW_TRACKING_URI, else the running platform's; with --output: only if named.")
    ] = "",
    output: Annotated[Path | None, typer.Option(help="Folder to write the bundle and its card to.")] = None,
    promote: Annotated[bool, typer.Option(help="Make it the champion even where there is one; else it is the candidate.")] = False,
    seed: Annotated[int | None, typer.Option(help="Instead of the one in config/training.yaml.")] = None,
    home: Annotated[
        Path | None, typer.Option(help="Folder of the running platform whose registry and database are meant; default: TANDEM_HOME.")
    ] = None,
    commit: Annotated[str, typer.Option(envvar="TANDEM_COMMIT", help="Of this code, for the run's tags; default: the checkout's.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print what came of it as JSON.")] = False,
) -> None:
    """Choose and fit pairs on the span, score them by purged walk-forward, train the network on all of it, register the bundle."""
    settings = _settings(home, finds=output is None and not tracking_uri)
    tracking_uri = tracking_uri or settings.mlflow_tracking_uri
    if not tracking_uri and output is None:
        found = f"no platform runs under {settings.home}"
        raise BadSetting(f"neither MLFLOW_TRACKING_URI nor --output is given, and {found}: the bundle would go nowhere")
    if trial > trials:
        raise BadSetting(f"--trial {trial} of --trials {trials}: the first cannot be above the second")
    name = _sector(named, sector)
    request = _Request(
        sector=name,
        symbols=tuple(load_sectors(settings.config_dir).preset_symbols(name)),
        declared=_declared(settings.config_dir, name, pair),
        bar=bar,
        from_ns=midnight_ns(train_from) if train_from else 0,
        to_ns=midnight_ns(train_to) if train_to else _FOREVER_NS,
        options=_options(settings.config_dir, params, seed),
        trial=trial,
        trials=trials,
    )
    label = _source(data, source, replay_id, settings)
    market = _market(data, request, settings, label=label, replay_id=replay_id)
    # Here, because torch takes seconds to import and `tandem train --help` needs none of it.
    from tandem.trainer.card_figures import card_of  # noqa: PLC0415
    from tandem.trainer.sectors import register_sector, save_bundle  # noqa: PLC0415

    with _progress(name) as progress:
        trained = _trained(market, request, progress)
    bundle, card = trained.training.bundle, card_of(trained.training)
    if output is not None:
        save_bundle(output, bundle, card=card)
    ref = None
    if tracking_uri:
        ref = register_sector(tracking_uri, bundle, card=card, promoted=promote, commit=commit, recorded=trained.recorded)
    _recorded(settings, trained, ref, label=label, replay_id=replay_id)
    _print(trained, ref, tracking_uri=tracking_uri, as_json=as_json)


def _settings(home: Path | None, *, finds: bool) -> Settings:
    """The settings; where they name no registry or database, those of a running platform: of the one that is named, else of TANDEM_HOME.

    finds: look for the latter. Raises Transient if no platform runs on the folder that is named.
    """
    settings = settings_module.load()
    folder = (home or settings.home).expanduser().resolve()
    runs = (home is not None or (finds and not settings.mlflow_tracking_uri)) and supervisor_pid(folder) is not None
    if home is not None and not runs:
        raise Transient(f"no platform runs under {home}; start it with `tandem up`")
    endpoints = state(folder)["endpoints"] if runs else {}
    if runs and not endpoints:
        raise Transient(f"the platform under {folder} is starting: try again when it is ready")
    return settings.model_copy(
        update={
            "mlflow_tracking_uri": settings.mlflow_tracking_uri or endpoints.get("mlflow", ""),
            "postgres_url": settings.postgres_url if settings.postgres_url.get_secret_value() else SecretStr(endpoints.get("postgres", "")),
        }
    )


def _trained(market: MarketData, request: _Request, progress: "Progress") -> "SectorTraining":
    from tandem.trainer.sectors import train_from_market  # noqa: PLC0415  (see train)

    # A bar of the data is a tick one millisecond before its end: the last one is whole. A last bar that trades break off in is not.
    end_ns = int(market.ticks["event_ns"][-1]) + NS_PER_MS if len(market.ticks) else request.to_ns
    return train_from_market(
        market,
        request.sector,
        symbols=request.symbols,
        declared=request.declared,
        bar=request.bar,
        from_ns=request.from_ns,
        to_ns=min(request.to_ns, end_ns),
        options=request.options,
        trial=request.trial,
        trials=request.trials,
        progress=progress,
    )


def _market(data: str, request: _Request, settings: Settings, *, label: str, replay_id: str) -> MarketData:
    if data != _POSTGRES:
        return load_market_data(Path(data), drop_bad=True)
    from tandem.adapters.bar_history import load_postgres_market  # noqa: PLC0415  (psycopg2, for this source only)

    url = settings.postgres_url.get_secret_value()
    if not url:
        raise BadSetting("--data postgres: TANDEM_POSTGRES_URL is not set")
    names = dict.fromkeys([*request.symbols, *(leg for pair in request.declared for leg in pair_legs(pair))])
    return load_postgres_market(url, tuple(names), request.bar, request.from_ns, request.to_ns, source=label, replay_id=replay_id)


def _source(data: str, source: str, replay_id: str, settings: Settings) -> str:
    """The label of the bars: `file`, or what they were stored under. A replay's are never taken unless it is named."""
    if data != _POSTGRES:
        if source or replay_id:
            raise BadSetting("--source and --replay-id are of stored bars: they go with --data postgres")
        return "file"
    own = settings.source if settings.source in {Source.LIVE, Source.PAPER} else Source.LIVE
    return source or own


def _recorded(settings: Settings, trained: "SectorTraining", ref: "ModelRef | None", *, label: str, replay_id: str) -> None:
    """The training's history and diagnostics, where there is a database for them."""
    url = settings.postgres_url.get_secret_value()
    if not url or ref is None:
        return
    from tandem.trainer.diagnostics import record_training_run  # noqa: PLC0415  (see train)

    record_training_run(url, trained.training.bundle, ref, trained.panel, slots=trained.slots, source=label, replay_id=replay_id)


def _print(trained: "SectorTraining", ref: "ModelRef | None", *, tracking_uri: str, as_json: bool) -> None:
    bundle = trained.training.bundle
    rejected = [(r.symbol, r.reason, r.detail) for r in bundle.rejected_symbols] + [(r.pair, r.reason, r.detail) for r in bundle.rejections]
    for what, reason, detail in rejected:
        typer.echo(f"rejected {what}: {reason}: {detail}", err=True)
    aliases: tuple[str, ...] = ()
    if ref is not None:
        from tandem.adapters.mlflow_registry import aliases_of  # noqa: PLC0415  (see train)

        aliases = aliases_of(tracking_uri, ref)
    if as_json:
        typer.echo(orjson.dumps(_document(trained, ref, aliases), option=orjson.OPT_INDENT_2).decode())
        return
    typer.echo(f"{bundle.sector}: pairs {', '.join(p.pair for p in bundle.pairs)}; digest {bundle.digest}")
    if ref is not None:
        typer.echo(f"{ref.name} version {ref.version}: {', '.join(aliases) or 'no alias'}")


def _document(trained: "SectorTraining", ref: "ModelRef | None", aliases: tuple[str, ...]) -> dict[str, Any]:
    bundle = trained.training.bundle
    return {
        "sector": bundle.sector,
        "digest": bundle.digest,
        "data_digest": bundle.data_digest,
        "seed": bundle.seed,
        "pairs": [pair.pair for pair in bundle.pairs],
        "rejected": {
            **{r.symbol: {"reason": r.reason, "detail": r.detail} for r in bundle.rejected_symbols},
            **{r.pair: {"reason": r.reason, "detail": r.detail} for r in bundle.rejections},
        },
        "metrics": bundle.metrics,
        "registered": None if ref is None else {"name": ref.name, "version": ref.version, "aliases": list(aliases)},
    }


@contextmanager
def _progress(sector: SectorId) -> "Iterator[Progress]":
    """A bar of the fits on stderr, where that is a terminal."""
    from rich.console import Console  # noqa: PLC0415  (0.1 s, and `--help` does without)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(f"training {sector}, fits", total=None)
        yield lambda done, count: bars.update(task, completed=done, total=count)


def _sector(named: str, sector: str) -> SectorId:
    if bool(named) == bool(sector):
        raise BadSetting(f"name one sector, as `tandem train SECTOR` or by --sector; found {named!r} and {sector!r}")
    try:
        return sector_id(named or sector)
    except ValueError as error:
        raise BadSetting(f"--sector: {error}") from error


def _options(config_dir: Path, params: Path | None, seed: int | None) -> TrainingOptions:
    options = load_options(config_dir / "training.yaml", overlay=params)
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
