"""Facts of companies that the user has loaded: companies.csv in the configuration folder, one row a symbol. None is shipped."""

import csv
from collections.abc import Mapping
from pathlib import Path

from tandem.domain.errors import BadSetting
from tandem.domain.ids import Symbol, symbol

COMPANIES_FILE = "companies.csv"
_ROWS_MAX = 20_000  # more than the exchanges list
_KEY = "symbol"


def load_companies(folder: Path) -> dict[Symbol, Mapping[str, str]]:
    """What is known of each symbol, in the order of the file; without empty fields. Empty when there is no file. Raises BadSetting."""
    path = folder / COMPANIES_FILE
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(path, csv.DictReader(file, strict=True))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadSetting(f"{path}: {error}") from error


def _read(path: Path, reader: "csv.DictReader[str]") -> dict[Symbol, Mapping[str, str]]:
    names = reader.fieldnames or ()
    if _KEY not in names or len(set(names)) != len(names) or len(names) < 2:
        raise BadSetting(f"{path}: the first line is {','.join(names)!r}, expected column names, each once, {_KEY} among them")
    found: dict[Symbol, Mapping[str, str]] = {}
    for row in reader:
        where = f"{path}:{reader.line_num}"
        if None in row or None in row.values():
            raise BadSetting(f"{where}: found another number of fields than the {len(names)} of the first line")
        try:
            name = symbol(row.pop(_KEY))
        except ValueError as error:
            raise BadSetting(f"{where}: {error}") from error
        if name in found:
            raise BadSetting(f"{where}: {name} stands there for the second time")
        if len(found) == _ROWS_MAX:
            raise BadSetting(f"{where}: more than {_ROWS_MAX} rows")
        found[name] = {key: value.strip() for key, value in row.items() if value.strip()}
    return found
