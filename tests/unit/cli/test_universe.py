"""`tandem symbols` and `tandem sectors` on a copy of the shipped config."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from tandem.adapters.config_files import load_sectors
from tandem.cli.main import app

SHIPPED = Path(__file__).parents[3] / "config"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the commands work on."""
    folder = tmp_path / "config"
    shutil.copytree(SHIPPED, folder)
    monkeypatch.setenv("TANDEM_CONFIG_DIR", str(folder))
    return folder


def tandem(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, arguments)


def comments(folder: Path) -> list[str]:
    """The comments of sectors.yaml, in order."""
    return [line.split("#", 1)[1] for line in (folder / "sectors.yaml").read_text().splitlines() if "#" in line]


def test_a_symbol_is_added_to_its_sector_and_every_comment_stays(config: Path) -> None:
    """Written small, it is taken in capitals."""
    before = comments(config)
    assert "added NOW to technology" in tandem("symbols", "add", "now", "--sector", "technology").output
    assert load_sectors(config).sectors["technology"][-1] == "NOW"  # type: ignore[index]
    assert comments(config) == before


def test_adding_and_removing_leaves_the_file_as_it_was(config: Path) -> None:
    """Byte for byte."""
    before = (config / "sectors.yaml").read_bytes()
    tandem("symbols", "add", "NOW", "-s", "index")
    assert (config / "sectors.yaml").read_bytes() != before
    tandem("symbols", "remove", "NOW")
    assert (config / "sectors.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("symbols", "add", "AAPL", "-s", "energy"), "AAPL is listed already, in sector technology"),
        (("symbols", "add", "NOW", "-s", "tech"), "sector 'tech' is not known; known are technology, healthcare"),
        (("symbols", "add", "NO-W", "-s", "technology"), "symbol 'NO-W': allowed are"),
        (("symbols", "remove", "NOW"), "NOW is listed in no sector"),
        (("symbols", "remove", "KO"), "KO is a leg of KO-PEP"),
        (("symbols", "preset", "few"), "no preset 'few'"),
        (("sectors", "symbols", "tech"), "sector 'tech' is not known"),
        (("sectors", "set-active", "energy", "tech"), "sector 'tech' is not known"),
    ],
)
def test_what_would_be_wrong_is_refused_and_nothing_is_changed(config: Path, arguments: tuple[str, ...], reason: str) -> None:
    """Exit code 1, the reason with what is allowed, and the file as before."""
    before = (config / "sectors.yaml").read_bytes()
    result = tandem(*arguments)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert (config / "sectors.yaml").read_bytes() == before


def test_removing_a_symbol_takes_it_out_of_the_presets(config: Path) -> None:
    """A preset of what is not listed would be refused at the next start."""
    (config / "pairs" / "ko-pep.yaml").unlink()
    result = tandem("symbols", "remove", "KO")
    assert "removed KO from consumer and from preset pairs, testing" in result.output
    assert load_sectors(config).presets["testing"] == ("PEP",)


def test_a_fault_in_the_file_is_told_and_not_overwritten(config: Path) -> None:
    """A file edited by hand that cannot be right is left for the hand that edited it."""
    path = config / "sectors.yaml"
    path.write_text(path.read_text().replace("- AAPL\n", "- aapl\n", 1))
    before = path.read_bytes()
    result = tandem("symbols", "add", "NOW", "-s", "technology")
    assert (result.exit_code, path.read_bytes()) == (1, before)
    assert "sectors.yaml:10: symbol 'aapl'" in result.stderr


def test_presets_switch_the_symbols_in_use(config: Path) -> None:
    """`testing`, `pairs`, then `all` again: the file is as it was."""
    before = (config / "sectors.yaml").read_bytes()
    assert "2 symbols in use: KO, PEP" in tandem("symbols", "testing").output
    assert load_sectors(config).preset == "testing"
    assert tandem("symbols", "pairs").stderr == ""
    assert load_sectors(config).active_symbols("energy") == ("XOM", "CVX")
    tandem("symbols", "preset", "all")
    assert (config / "sectors.yaml").read_bytes() == before


def test_a_preset_that_leaves_a_declared_pair_without_its_legs_warns(config: Path) -> None:
    """The reader is told which, and why."""
    assert "warning: CVX-XOM is left out: the preset testing lacks CVX and XOM" in tandem("symbols", "testing").stderr


def test_exactly_the_named_sectors_become_active(config: Path) -> None:
    """Those that stay keep their place; pairs of the others are left out."""
    before = comments(config)
    result = tandem("sectors", "set-active", "index", "energy")
    assert load_sectors(config).active == ("energy", "index")
    assert comments(config) == before
    assert "warning: KO-PEP is left out: its sector consumer is not active" in result.stderr


def test_status_tells_what_has_data(config: Path, tmp_path: Path) -> None:
    """With --data: which listed symbols the file holds, which not, and what it holds besides."""
    data = tmp_path / "closes.parquet"
    rows = [("KO", 50.0), ("PEP", 60.0), ("ZZZZ", 1.0)]
    columns = {"symbol": [s for s, _ in rows], "date": pa.array([19_724] * 3, pa.date32()), "close": [p for _, p in rows]}
    pq.write_table(pa.table(columns), data)
    told = json.loads(tandem("symbols", "status", "--data", str(data), "--json").stdout)
    consumer = next(row for row in told["sectors"] if row["sector"] == "consumer")
    assert consumer["with_data"] == ["KO", "PEP"]
    assert "WMT" in consumer["without_data"]
    assert told["data_only"] == ["ZZZZ"]
    assert told["file"] == str(config / "sectors.yaml")


def test_status_names_the_file_and_each_sector(config: Path) -> None:
    """For people: the file, the preset, and a row for every sector."""
    output = tandem("symbols", "status").output
    assert str(config / "sectors.yaml") in output
    assert all(sector in output for sector in load_sectors(config).sectors)


def test_the_summary_counts_symbols_and_names_pairs(config: Path) -> None:
    """As JSON."""
    told = {row["sector"]: row for row in json.loads(tandem("sectors", "summary", "--json").stdout)}
    assert told["energy"] == {"sector": "energy", "active": True, "symbols": 6, "in_use": 6, "pairs": ["CVX-XOM"]}
    assert told["industrial"]["in_use"] == 0


def test_the_symbols_of_a_sector_are_listed_and_marked(config: Path) -> None:
    """One a line; what is not in use says so."""
    assert tandem("sectors", "symbols", "energy").output.split() == list(load_sectors(config).sectors["energy"])  # type: ignore[index]
    assert "CAT  (not in use)" in tandem("sectors", "symbols", "industrial").output


def test_config_tells_the_settings_as_understood(config: Path) -> None:
    """File, active and known sectors, presets."""
    told = json.loads(tandem("sectors", "config", "--json").stdout)
    assert (told["active_symbols"], told["presets"]) == ("all", ["all", "pairs", "testing"])
    assert told["file"] == str(config / "sectors.yaml")
