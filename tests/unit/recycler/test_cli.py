"""The command: what it refuses and how it says so, and that its help leaves nothing unexplained."""

import pytest
import typer
from typer.testing import CliRunner

from recorded_cases import CONFIG, OPEN_NS, quotes, trades
from tandem.recycler.cli import app


def refused(*arguments):
    """What the command says when it cannot start; nothing is served."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--port", "0", "--config-dir", str(CONFIG)])
    assert result.exit_code == 2, result.output
    return result.output


def test_what_cannot_be_replayed_is_said_in_one_line(tmp_path):
    prints = trades(tmp_path / "t.parquet", [("KO", OPEN_NS, 60.0, 1)])
    book = quotes(tmp_path / "q.parquet", [("KO", OPEN_NS, 59.0, 61.0)])
    none = tmp_path / "none.parquet"
    assert refused("--data", none) == f"recycler: market data {none}: there is no such file\n"
    assert "at least one file of trades, bars or closes is needed" in refused("--data", book)
    assert "t.parquet holds no XOM; it holds KO" in refused("--data", prints, "--data", book, "--symbols", "XOM")
    assert "must end in .SYN" in refused("--data", prints, "--twin", "KO=COKE")
    assert "holds no PEP" in refused("--data", prints, "--twin", "PEP=PEP.SYN")
    assert "no tick from 2024-07-02" in refused("--data", prints, "--from", "2024-07-02")


def test_every_option_is_explained():
    command = typer.main.get_command(app)
    silent = [option.name for option in command.params if not getattr(option, "help", None)]
    assert silent == []


@pytest.mark.parametrize("word", ["--data", "--speed", "docs/recycler.md", "ws://127.0.0.1:8765/v2/iex", "POST /tandem/v1/replay/start"])
def test_the_help_says_how_to_begin(word):
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert word in result.output
