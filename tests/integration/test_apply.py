"""`tandem apply` and `tandem delete` on a real control topic."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tandem.adapters.control_log import read_control
from tandem.adapters.kafka_log import create_topics
from tandem.cli.main import app
from tandem.domain.control import PairSpec
from tandem.domain.trading import TradingMode

CONFIG = Path(__file__).parents[2] / "config"
PAIR = """\
apiVersion: tandem.trading/v1alpha1
kind: TradingPair
metadata: {name: %s}
spec: {sector: %s, legs: [%s]%s}
"""

Tandem = Callable[..., Result]


@pytest.fixture(scope="module")
def topic(kafka_servers: str) -> str:
    """The broker, with Tandem's topics."""
    create_topics(kafka_servers, [])
    return kafka_servers


@pytest.fixture
def tandem(topic: str, monkeypatch: pytest.MonkeyPatch) -> Tandem:
    """Run the command against that broker."""
    monkeypatch.setenv("TANDEM_KAFKA_BOOTSTRAP_SERVERS", topic)
    monkeypatch.setenv("TANDEM_CONFIG_DIR", str(CONFIG))
    return lambda *arguments, given="": CliRunner().invoke(app, arguments, input=given)


def declared(servers: str) -> dict[str, PairSpec]:
    """What the control topic declares now."""
    table, reader = read_control(servers, "tandem-tests")
    reader.close()
    return table.pairs


def manifest(name: str = "xom-cvx", sector: str = "energy", legs: str = "XOM, RRC", more: str = "") -> str:
    """The text of a manifest."""
    return PAIR % (name, sector, legs, more)


def test_a_pair_is_created_then_unchanged_then_configured_then_deleted(tandem: Tandem, topic: str) -> None:
    """The life of one declaration, as the commands tell it and as the topic holds it."""
    assert tandem("apply", "-f", "-", given=manifest()).output == "pair XOM-RRC created\n"
    assert declared(topic)["XOM-RRC"].entry_z == 2.0
    assert tandem("apply", "-f", "-", given=manifest()).output == "pair XOM-RRC unchanged\n"
    changed = tandem("apply", "-f", "-", given=manifest(more=", signal: {entryZ: 1.5}"))
    assert changed.output == "pair XOM-RRC configured: entry_z 2.0 -> 1.5\n"
    assert declared(topic)["XOM-RRC"].entry_z == 1.5
    assert tandem("delete", "pair", "xom-rrc").output == "pair XOM-RRC deleted\n"
    assert "XOM-RRC" not in declared(topic)


def test_the_mode_of_an_account_is_declared_as_in_a_cluster(tandem: Tandem, topic: str) -> None:
    """The kill switch by manifest, told as pairs are."""
    text = "apiVersion: tandem.trading/v1alpha1\nkind: TradingAccount\nmetadata: {name: desk}\nspec: {source: recycled, mode: %s}\n"
    assert tandem("apply", "-f", "-", given=text % "Active").output == "account desk created\n"
    assert tandem("apply", "-f", "-", given=text % "Halted").output == "account desk configured: mode active -> halted\n"
    told = json.loads(tandem("apply", "--json", "-f", "-", given=f"{text % 'Halted'}---\n{manifest(legs='XOM, COP')}").stdout)
    assert [(row.get("account"), row.get("pair"), row["result"]) for row in told] == [
        (None, "XOM-COP", "created"),
        ("desk", None, "unchanged"),
    ]
    assert tandem("delete", "pair", "XOM-COP").exit_code == 0
    table, reader = read_control(topic, "tandem-tests")
    reader.close()
    assert table.trading["account/desk"].mode is TradingMode.HALTED


def test_a_folder_declares_all_its_manifests(tandem: Tandem, topic: str) -> None:
    """The shipped pairs, as JSON tells of them."""
    result = tandem("apply", "-f", str(CONFIG / "pairs"), "--json")
    told = json.loads(result.stdout)
    assert {row["pair"] for row in told} == set(declared(topic)) == {path.stem.upper() for path in (CONFIG / "pairs").iterdir()}
    assert {row["result"] for row in told} == {"created"}


def test_nothing_is_written_when_one_of_many_documents_is_bad(tandem: Tandem, topic: str) -> None:
    """All documents are checked first, and the fault is told with its line."""
    before = declared(topic)
    result = tandem("apply", "-f", "-", given=f"{manifest(legs='SLB, COP')}---\n{manifest(sector='Energy')}")
    assert (result.exit_code, declared(topic)) == (1, before)
    assert "standard input:9: spec.sector: found 'Energy'" in result.stderr


def test_a_dry_run_writes_nothing(tandem: Tandem, topic: str) -> None:
    """It tells what would become of the pair."""
    result = tandem("apply", "--dry-run", "-f", "-", given=manifest(legs="SLB, COP"))
    assert result.output == "pair SLB-COP created (dry run)\n"
    assert "SLB-COP" not in declared(topic)


def test_a_symbol_that_no_sector_lists_is_a_warning(tandem: Tandem, topic: str) -> None:
    """The pair is declared all the same: the symbol may be listed later."""
    result = tandem("apply", "-f", "-", given=manifest(legs="XOM, ZZZZ"))
    assert (result.exit_code, result.stdout) == (0, "pair XOM-ZZZZ created\n")
    assert "warning: standard input:3: no sector lists ZZZZ" in result.stderr
    assert "XOM-ZZZZ" in declared(topic)


def test_a_declared_pair_cannot_be_declared_with_its_legs_turned(tandem: Tandem, topic: str) -> None:
    """The same bet would be held twice."""
    tandem("apply", "-f", "-", given=manifest(legs="XOM, SLB"))
    result = tandem("apply", "-f", "-", given=manifest(legs="SLB, XOM"))
    assert result.exit_code == 1
    assert "XOM-SLB is declared already" in result.stderr
    assert "SLB-XOM" not in declared(topic)


def test_deleting_what_is_not_declared_is_an_error(tandem: Tandem) -> None:
    """The declared pairs are named."""
    result = tandem("delete", "pair", "AAA-BBB")
    assert result.exit_code == 1
    assert "no pair AAA-BBB is declared" in result.stderr
