"""The sectors that a data file itself names: the column `sector` of a long file, one for each symbol."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tandem.domain.errors import BadRecord
from tandem.domain.ids import SectorId, sector_id


def file_sectors(path: Path) -> dict[str, SectorId]:
    """The sector of each symbol, e.g. "Information Technology" as information-technology; empty when the file has no such column.

    Raises BadRecord if the file cannot be read, or a symbol has two sectors.
    """
    try:
        if not {"symbol", "sector"} <= set(pq.read_schema(path).names):
            return {}
        table = pq.read_table(path, columns=["symbol", "sector"]).group_by(["symbol", "sector"]).aggregate([])
    except (pa.ArrowInvalid, OSError) as error:
        raise BadRecord("file_unreadable", f"{path}: {error}") from error
    found: dict[str, SectorId] = {}
    for row in table.to_pylist():
        if row["sector"] is None:
            continue
        if row["symbol"] in found:
            raise BadRecord("sector_ambiguous", f"{path.name}: {row['symbol']} has two sectors, allowed is one for each symbol")
        found[row["symbol"]] = sector_id("-".join(str(row["sector"]).lower().split()))
    return found
