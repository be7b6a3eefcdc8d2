"""Which symbols a file of market data holds, read from its symbol column alone: a file of any size needs the memory of one piece.

Looks at no price: what the rows say is market_file.py's and market_pieces.py's to check. Called where only the names are asked for.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tandem.adapters.market_columns import Columns
from tandem.adapters.market_file import ALLOWED, symbol_column
from tandem.domain.errors import BadRecord, BadSetting
from tandem.domain.ids import Symbol

_PIECE_ROWS = 131_072


def symbols_of_file(path: Path) -> tuple[Symbol, ...]:
    """Ascending. Raises BadSetting if there is no such file, BadRecord if it is not Parquet or of no kind that is known."""
    if not path.is_file():
        raise BadSetting(f"market data {path}: there is no such file")
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if "symbol" in names:
                return tuple(sorted(_in_column(path, file)))
    except (pa.ArrowInvalid, OSError) as error:
        raise BadRecord("file_unreadable", f"{path}: not a Parquet file: {error}") from error
    if "date" not in names or len(names) == 1:
        raise BadRecord("columns_unknown", f"{path.name}: found the columns {', '.join(names)}; allowed are {ALLOWED}")
    kept = sorted(name for name in names if name != "date" and not name.endswith("_INDEX"))
    for name in kept:
        symbol_column(path, name)
    return tuple(map(Symbol, kept))


def _in_column(path: Path, file: pq.ParquetFile) -> set[Symbol]:
    found: set[Symbol] = set()
    for piece in file.iter_batches(batch_size=_PIECE_ROWS, columns=["symbol"]):
        found.update(Columns(path, pa.Table.from_batches([piece])).symbols("symbol")[1])
    return found
