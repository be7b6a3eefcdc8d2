"""`tandem sectors`: the sectors of config/sectors.yaml and which of them are active."""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from tandem.adapters.config_files import ALL, load_declared, load_sectors
from tandem.cli import universe
from tandem.cli.output import print_facts, print_json, print_table, remark
from tandem.cli.symbols import DEFAULT_CONFIG_DIR, ConfigDir, Json
from tandem.domain.errors import Permanent
from tandem.domain.ids import SectorId

app = typer.Typer(no_args_is_help=True, help="Sectors: show them, choose the active ones.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Summary:
    """One sector: how many symbols it lists and has in use, and which declared pairs name it."""

    sector: str
    active: bool
    symbols: int
    in_use: int
    pairs: tuple[str, ...]


@app.command()
def summary(config_dir: ConfigDir = DEFAULT_CONFIG_DIR, json: Json = False) -> None:
    """One line for each sector: active or not, how many symbols, which declared pairs."""
    sectors = load_sectors(config_dir)
    declared = [pair.spec for pair in load_declared(config_dir)]
    rows = [
        _Summary(
            sector=sector,
            active=sector in sectors.active,
            symbols=len(symbols),
            in_use=len(sectors.active_symbols(sector)),
            pairs=tuple(spec.pair for spec in declared if spec.sector == sector),
        )
        for sector, symbols in sectors.sectors.items()
    ]
    if json:
        print_json([asdict(row) for row in rows])
        return
    cells = [[row.sector, "yes" if row.active else "no", str(row.symbols), str(row.in_use), " ".join(row.pairs)] for row in rows]
    print_table(["sector", "active", "symbols", "in use", "declared pairs"], cells, right=("symbols", "in use"))


@app.command()
def symbols(
    sector: Annotated[str, typer.Argument(help="A sector of sectors.yaml.")],
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    json: Json = False,
) -> None:
    """The symbols of one sector, one a line; those not in use are marked."""
    sectors = load_sectors(config_dir)
    if sector not in sectors.sectors:
        raise Permanent(f"sector {sector!r} is not known; known are {', '.join(sectors.sectors)}")
    listed, in_use = sectors.sectors[SectorId(sector)], sectors.active_symbols(sector)
    if json:
        print_json({"sector": sector, "active": sector in sectors.active, "symbols": listed, "in_use": in_use})
        return
    for ticker in listed:
        typer.echo(ticker if ticker in in_use else f"{ticker}  (not in use)")


@app.command()
def config(config_dir: ConfigDir = DEFAULT_CONFIG_DIR, json: Json = False) -> None:
    """The settings of sectors.yaml as they are understood, and where the file is."""
    sectors = load_sectors(config_dir)
    file = str(universe.sectors_file(config_dir).resolve())
    known = tuple(sectors.sectors)
    if json:
        print_json(
            {"file": file, "active": sectors.active, "known": known, "active_symbols": sectors.preset, "presets": (ALL, *sectors.presets)}
        )
        return
    print_facts(
        {
            "file": file,
            "active": universe.comma(sectors.active),
            "known": universe.comma(known),
            "active_symbols": sectors.preset,
            "presets": universe.comma((ALL, *sectors.presets)),
        }
    )


@app.command("set-active")
def set_active(
    sectors: Annotated[list[str], typer.Argument(help="All sectors that shall be active; the others no longer are.")],
    config_dir: ConfigDir = DEFAULT_CONFIG_DIR,
    json: Json = False,
) -> None:
    """Make exactly these sectors active."""
    after = universe.set_active(config_dir, list(dict.fromkeys(sectors)))
    if json:
        print_json({"active": after.active, "left_out": universe.unused_legs(config_dir, after)})
        return
    typer.echo(f"active: {universe.comma(after.active)}")
    for sentence in universe.unused_legs(config_dir, after):
        remark(f"warning: {sentence}")
