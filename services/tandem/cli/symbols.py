"""`tandem symbols`: which symbols are configured and in use; add one, remove one, switch between presets."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from tandem.adapters.config_files import Sectors, load_declared, load_sectors
from tandem.cli import universe
from tandem.cli.output import print_facts, print_json, print_table, remark
from tandem.domain.ids import SectorId

app = typer.Typer(no_args_is_help=True, help="Symbols of the sectors: show, add, remove, switch presets.")

ConfigDir = Annotated[Path, typer.Option("--config-dir", envvar="TANDEM_CONFIG_DIR", help="Folder with sectors.yaml and pairs/.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_CONFIG_DIR = Path("config")


@app.command()
def status(
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    data: Annotated[Path | None, typer.Option(help="A data file (Parquet): also show which symbols it holds.")] = None,
    json: Json = False,
) -> None:
    """Show what is configured, in which file, what is in use, and with --data which symbols have data."""
    sectors = load_sectors(config_dir)
    with_data = _symbols_of_file(data) if data else None
    left_out = universe.unused_legs(config_dir, sectors)
    if json:
        print_json(
            {
                "file": str(universe.sectors_file(config_dir).resolve()),
                "preset": sectors.preset,
                "presets": sectors.presets,
                "active_sectors": sectors.active,
                "sectors": [asdict(row) for row in _rows(sectors, with_data)],
                "pairs": [pair.spec.pair for pair in load_declared(config_dir)],
                "left_out": left_out,
                "data_only": sorted(set(with_data) - _listed(sectors)) if with_data is not None else None,
            }
        )
        return
    print_facts(
        {
            "file": str(universe.sectors_file(config_dir).resolve()),
            "symbols in use": f"{sum(len(sectors.active_symbols(s)) for s in sectors.active)} (preset {sectors.preset})",
            "active sectors": universe.comma(sectors.active),
            "presets": universe.comma(("all", *sectors.presets)),
            "declared pairs": universe.comma(pair.spec.pair for pair in load_declared(config_dir)),
        }
    )
    columns = ["sector", "active", "symbols in use", "not in use"] + (["with data", "without data"] if with_data is not None else [])
    print_table(columns, [row.cells() for row in _rows(sectors, with_data)])
    if with_data is not None and (rest := sorted(set(with_data) - _listed(sectors))):
        remark(f"in {data}, but in no sector: {', '.join(rest)}")
    for sentence in left_out:
        remark(f"warning: {sentence}")


@app.command("pairs")
def use_pairs(config_dir: ConfigDir = DEFAULT_CONFIG_DIR, json: Json = False) -> None:
    """Use the preset `pairs`: the symbols that the declared pairs need."""
    _switch(config_dir, "pairs", json=json)


@app.command("testing")
def use_testing(config_dir: ConfigDir = DEFAULT_CONFIG_DIR, json: Json = False) -> None:
    """Use the preset `testing`: the few symbols for a quick try."""
    _switch(config_dir, "testing", json=json)


@app.command("preset")
def use_preset(
    name: Annotated[str, typer.Argument(help="A preset of sectors.yaml, or `all`.")],
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    json: Json = False,
) -> None:
    """Use any preset; `all` for every symbol of the active sectors."""
    _switch(config_dir, name, json=json)


@app.command()
def add(
    symbol: Annotated[str, typer.Argument(help="Ticker, e.g. GOOGL.")],
    sector: Annotated[str, typer.Option("--sector", "-s", help="The sector that will list it.")],
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    json: Json = False,
) -> None:
    """Add a symbol to a sector."""
    ticker = universe.add_symbol(config_dir, symbol, sector)
    file, sectors = universe.sectors_file(config_dir), load_sectors(config_dir)
    if json:
        print_json({"added": ticker, "sector": sector, "file": str(file), "in_use": ticker in sectors.active_symbols(SectorId(sector))})
    else:
        typer.echo(f"added {ticker} to {sector} in {file}")
    if sector not in sectors.active:
        remark(f"{ticker} is not in use yet: sector {sector} is not active (`tandem sectors set-active`)")
    elif ticker not in sectors.active_symbols(sector):
        remark(f"{ticker} is not in use yet: the preset {sectors.preset} lacks it (`tandem symbols preset all`, or edit the preset)")


@app.command()
def remove(symbol: Annotated[str, typer.Argument(help="Ticker.")], config_dir: ConfigDir = DEFAULT_CONFIG_DIR, json: Json = False) -> None:
    """Remove a symbol from its sector; refused while a declared pair needs it."""
    ticker, sector, presets = universe.remove_symbol(config_dir, symbol)
    if json:
        print_json({"removed": ticker, "sector": sector, "presets": presets, "file": str(universe.sectors_file(config_dir))})
        return
    held = f" and from preset {', '.join(presets)}" if presets else ""
    typer.echo(f"removed {ticker} from {sector}{held} in {universe.sectors_file(config_dir)}")


def _switch(config_dir: Path, name: str, *, json: bool) -> None:
    sectors = universe.use_preset(config_dir, name)
    symbols = [ticker for sector in sectors.active for ticker in sectors.active_symbols(sector)]
    if json:
        print_json({"preset": name, "symbols": symbols, "left_out": universe.unused_legs(config_dir, sectors)})
        return
    typer.echo(f"preset {name}: {len(symbols)} symbols in use: {universe.comma(symbols)}")
    for sentence in universe.unused_legs(config_dir, sectors):
        remark(f"warning: {sentence}")


def _listed(sectors: Sectors) -> set[str]:
    return {ticker for symbols in sectors.sectors.values() for ticker in symbols}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What `status` tells of one sector; the last two only with --data."""

    sector: str
    active: bool
    in_use: tuple[str, ...]
    not_in_use: tuple[str, ...]
    with_data: tuple[str, ...] | None
    without_data: tuple[str, ...] | None

    def cells(self) -> list[str]:
        """The row of the table."""
        columns = (self.in_use, self.not_in_use, self.with_data, self.without_data)
        return [self.sector, "yes" if self.active else "no", *(" ".join(column) for column in columns if column is not None)]


def _rows(sectors: Sectors, with_data: tuple[str, ...] | None) -> list[_Row]:
    rows = []
    for sector, listed in sectors.sectors.items():
        in_use = sectors.active_symbols(sector)
        rows.append(
            _Row(
                sector=sector,
                active=sector in sectors.active,
                in_use=in_use,
                not_in_use=tuple(ticker for ticker in listed if ticker not in in_use),
                with_data=None if with_data is None else tuple(ticker for ticker in listed if ticker in with_data),
                without_data=None if with_data is None else tuple(ticker for ticker in listed if ticker not in with_data),
            )
        )
    return rows


def _symbols_of_file(path: Path) -> tuple[str, ...]:
    """The symbols that a data file holds."""
    # pyarrow takes 0.2 s to import and only --data needs it.
    from tandem.adapters.market_symbols import symbols_of_file  # noqa: PLC0415  (see above)

    return symbols_of_file(path)
