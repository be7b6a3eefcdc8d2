"""config/sectors.yaml as the commands change it: which change is allowed, and the edited text. Called by symbols.py and sectors.py.

A change is made in the text, read back with the same checks as at every start, and only then written: a file that Tandem would refuse is
never left behind.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tandem.adapters.config_files import ALL, SECTORS_FILE, Sectors, load_declared, load_sectors, parse_sectors
from tandem.adapters.yaml_documents import read_text, write_atomically
from tandem.adapters.yaml_edit import add_item, remove_item, set_value
from tandem.domain.errors import Permanent
from tandem.domain.ids import SectorId, Symbol, symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A declared pair that needs a symbol, and where it is declared."""

    pair: str
    where: str


def sectors_file(config_dir: Path) -> Path:
    """The file that all these commands are about."""
    return config_dir / SECTORS_FILE


def add_symbol(config_dir: Path, name: str, sector: str) -> Symbol:
    """List a symbol under a sector. Refuses a symbol that any sector lists already, and a sector that is not known."""
    sectors = load_sectors(config_dir)
    ticker = _symbol(name)
    _known_sector(sectors, sector)
    if (home := sectors.sector_of(ticker)) is not None:
        raise Permanent(f"{ticker} is listed already, in sector {home}; nothing was changed")
    text = _text(config_dir)
    _write(config_dir, add_item(_file(config_dir), text, ("sectors", sector), ticker))
    return ticker


def remove_symbol(config_dir: Path, name: str) -> tuple[Symbol, SectorId, tuple[str, ...]]:
    """Take a symbol out of its sector and out of the presets. Refuses while a declared pair needs it.

    Returns the symbol, the sector that listed it and the presets that held it.
    """
    sectors = load_sectors(config_dir)
    ticker = _symbol(name)
    home = sectors.sector_of(ticker)
    if home is None:
        raise Permanent(f"{ticker} is listed in no sector; nothing was changed")
    if needs := needed_by(config_dir, ticker):
        pairs = ", ".join(f"{need.pair} ({need.where})" for need in needs)
        raise Permanent(f"{ticker} is a leg of {pairs}; remove the pair's file first, nothing was changed")
    presets = tuple(preset for preset, symbols in sectors.presets.items() if ticker in symbols)
    text = remove_item(_file(config_dir), _text(config_dir), ("sectors", home), ticker)
    for preset in presets:
        text = remove_item(_file(config_dir), text, ("presets", preset), ticker)
    _write(config_dir, text)
    return ticker, home, presets


def use_preset(config_dir: Path, preset: str) -> Sectors:
    """Switch the symbols in use to a preset, or to "all"."""
    sectors = load_sectors(config_dir)
    if preset != ALL and preset not in sectors.presets:
        raise Permanent(f"no preset {preset!r} in {sectors_file(config_dir)}; there are {', '.join((ALL, *sectors.presets))}")
    if preset != sectors.preset:
        _write(config_dir, set_value(_file(config_dir), _text(config_dir), "active_symbols", preset))
    return load_sectors(config_dir)


def set_active(config_dir: Path, wanted: Sequence[str]) -> Sectors:
    """Make exactly these sectors active. Those that stay keep their lines and comments; new ones come after them."""
    sectors = load_sectors(config_dir)
    for sector in wanted:
        _known_sector(sectors, sector)
    text = _text(config_dir)
    for sector in wanted:  # before any removal, so that the list never stands empty
        if sector not in load_active(config_dir, text):
            text = add_item(_file(config_dir), text, ("active",), sector)
    for sector in sectors.active:
        if sector not in wanted:
            text = remove_item(_file(config_dir), text, ("active",), sector)
    if text != _text(config_dir):
        _write(config_dir, text)
    return load_sectors(config_dir)


def load_active(config_dir: Path, text: str) -> tuple[SectorId, ...]:
    """The active sectors of an edited text."""
    return parse_sectors(_file(config_dir), text).active


def needed_by(config_dir: Path, name: str) -> tuple[Need, ...]:
    """The declared pairs that have a symbol as a leg."""
    return tuple(
        Need(pair=pair.spec.pair, where=pair.where) for pair in load_declared(config_dir) if name in (pair.spec.leg_a, pair.spec.leg_b)
    )


def unused_legs(config_dir: Path, sectors: Sectors) -> tuple[str, ...]:
    """A sentence for each pair of config/pairs that a platform leaves out at its start: Sectors.in_use, with the reason."""
    remarks = []
    for pair in load_declared(config_dir):
        spec = pair.spec
        if spec.sector not in sectors.active:
            remarks.append(f"{spec.pair} is left out: its sector {spec.sector} is not active")
            continue
        if missing := [leg for leg in (spec.leg_a, spec.leg_b) if not sectors.in_preset(leg)]:
            remarks.append(f"{spec.pair} is left out: the preset {sectors.preset} lacks {' and '.join(missing)}")
    return tuple(remarks)


def _known_sector(sectors: Sectors, sector: str) -> None:
    if sector not in sectors.sectors:
        raise Permanent(f"sector {sector!r} is not known; known are {', '.join(sectors.sectors)}")


def _symbol(name: str) -> Symbol:
    try:
        return symbol(name.upper())
    except ValueError as error:
        raise Permanent(str(error)) from error


def _file(config_dir: Path) -> str:
    return str(sectors_file(config_dir))


def _text(config_dir: Path) -> str:
    return read_text(sectors_file(config_dir))


def _write(config_dir: Path, text: str) -> None:
    parse_sectors(_file(config_dir), text)  # raises before anything is written
    write_atomically(sectors_file(config_dir), text)


def comma(names: Iterable[str]) -> str:
    """Names in one line, "none" for none."""
    return ", ".join(names) or "none"
