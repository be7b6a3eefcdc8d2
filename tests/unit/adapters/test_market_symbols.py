"""The symbols of a file of market data, without its rows."""

import pytest

from recorded_cases import MINUTE_NS, OPEN_NS, times, trades, write
from tandem.adapters.market_file import load_market_data
from tandem.adapters.market_symbols import symbols_of_file
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.domain.errors import BadRecord, BadSetting


def test_the_symbols_are_those_that_the_whole_file_is_read_with(tmp_path):
    """Trades, and a wide file of daily closes of twenty stocks."""
    path = trades(tmp_path / "t.parquet", [("PEP", OPEN_NS + 5, 2.0, 20), ("KO", OPEN_NS, 1.0, 10), ("KO", OPEN_NS + MINUTE_NS, 3.0, 30)])
    daily = skfolio_dataset(tmp_path / "daily.parquet")
    assert symbols_of_file(path) == ("KO", "PEP")
    assert symbols_of_file(daily) == load_market_data(daily).symbols
    assert len(symbols_of_file(daily)) == 20


def test_what_is_no_market_data_is_refused_with_what_was_found(tmp_path):
    """A file that is not there, one that is not Parquet, columns that mean nothing."""
    (tmp_path / "text.parquet").write_text("no")
    other = write(tmp_path / "o.parquet", ts=times([OPEN_NS]), bid=[1.0])
    with pytest.raises(BadSetting, match="no such file"):
        symbols_of_file(tmp_path / "none.parquet")
    with pytest.raises(BadRecord, match="not a Parquet file"):
        symbols_of_file(tmp_path / "text.parquet")
    with pytest.raises(BadRecord, match="found the columns"):
        symbols_of_file(other)


def test_a_name_that_is_no_symbol_is_refused_with_its_row(tmp_path):
    """As where the whole file is read."""
    path = trades(tmp_path / "t.parquet", [("KO", OPEN_NS, 1.0, 10), ("not one", OPEN_NS + 5, 2.0, 20)])
    with pytest.raises(BadRecord, match="row 2, column symbol: found not one"):
        symbols_of_file(path)
