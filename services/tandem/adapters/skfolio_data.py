"""The 20 US stocks that come inside the `skfolio` wheel, as long daily Parquet: real closes, 1990-2022, without a download.

The wheel's own note holds: for testing and examples. Called by the demo and the tests. Never imports skfolio, which takes seconds.
"""

import gzip
import io
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq

from tandem.domain.errors import BadSetting

_INSIDE = Path("datasets") / "data" / "sp500_dataset.csv.gz"


def skfolio_dataset(target: Path) -> Path:
    """Write (symbol, date, close) in order of symbol and date to `target`, unless it is there already. Returns `target`.

    The same wheel and pyarrow always give the same bytes. Raises BadSetting if the wheel is not installed.
    """
    data = _parquet(_source())
    if not (target.is_file() and target.read_bytes() == data):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        partial.write_bytes(data)
        partial.replace(target)
    return target


def _source() -> Path:
    spec = find_spec("skfolio")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / _INSIDE
        if path.is_file():
            return path
    raise BadSetting("the 20 stocks of the demo come with the skfolio package, which is not installed: install tandem-trading[local]")


def _parquet(source: Path) -> bytes:
    wide = pv.read_csv(io.BytesIO(gzip.decompress(source.read_bytes())))
    dates = wide.column("Date").cast(pa.date32()).combine_chunks()
    parts = []
    for name in sorted(column for column in wide.column_names if column != "Date"):
        symbols = pa.array([name]).take(pa.array([0] * len(dates)))
        parts.append(pa.table({"symbol": symbols, "date": dates, "close": wide.column(name).cast(pa.float64())}))
    sink = io.BytesIO()
    pq.write_table(pa.concat_tables(parts).combine_chunks(), sink, compression="zstd", use_dictionary=["symbol"])
    return sink.getvalue()
