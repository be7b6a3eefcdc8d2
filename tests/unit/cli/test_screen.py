"""`tandem screen` on the 20 stocks of the skfolio wheel, as a user runs it."""

import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from recorded_cases import CONFIG
from tandem.adapters.skfolio_data import skfolio_dataset
from tandem.cli.main import app


@pytest.fixture
def run(tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    """Calls the command on the wheel's stocks; returns its result and the file that it wrote."""
    monkeypatch.setenv("TANDEM_CONFIG_DIR", str(CONFIG))
    data = skfolio_dataset(tmp_path / "stocks.parquet")

    def call(*arguments: str):  # type: ignore[no-untyped-def]
        out = tmp_path / "screen.parquet"
        return CliRunner().invoke(app, ["screen", "--data", str(data), "--out", str(out), *arguments]), out

    return call


def test_all_pairs_are_written_and_the_summary_says_what_chance_gives(run):
    result, out = run("--from", "2014-01-01", "--to", "2016-01-01", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["symbols"], document["pairs"], document["tests"], document["next"]["bars"]) == (20, 190, 380, 504)
    assert document["below_5pct_by_chance"] == 19.0
    assert set(document["policies"]) >= {"fdr", "seed", "all tested (base rate)"}
    table = pq.read_table(out)
    assert table.num_rows == 190
    assert {"eg_p_ab", "eg_q_ba", "johansen_trace", "adf_p_ab", "half_life_bars_ab", "hurst_ba", "beta_tls_ab", "kalman_beta"} <= set(
        table.column_names
    )
    assert {"composite", "chosen", "chosen_reason", "next_p", "persisted"} <= set(table.column_names)


def test_the_table_for_people_names_policies_and_persistence(run):
    result, _ = run("--from", "2014-01-01", "--to", "2016-01-01", "--sector", "energy", "--policy", "seed")
    assert result.exit_code == 0, result.output
    for text in ("3 tested, 0 left out", "How many still pass p < 0.05 in the next span", "all tested (base rate)", "fdr", "seed"):
        assert text in result.stdout
    assert "pairs written to" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--policy", "best"), "--policy best: allowed are fdr, seed, none"),
        (("--sector", "nowhere"), "neither config/sectors.yaml nor the file knows it"),
        (("--from", "yesterday"), "day 'yesterday': expected YYYY-MM-DD"),
        (("--from", "2022-06-01"), "0 symbols are fit to be tested"),
    ],
)
def test_a_wrong_use_ends_with_one_line(run, arguments, message):
    result, out = run(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not out.exists()
