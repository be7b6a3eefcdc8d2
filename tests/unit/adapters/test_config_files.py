"""Reading config/: the shipped files are right, and each fault is named with its line."""

from pathlib import Path

import pytest

from tandem.adapters.config_files import load_pairs, load_sectors, parse_sectors, read_declarations, read_pairs
from tandem.domain.control import TradingState
from tandem.domain.errors import BadSetting
from tandem.domain.trading import TradingMode

SHIPPED = Path(__file__).parents[3] / "config"

PAIR = """\
apiVersion: tandem.trading/v1alpha1
kind: TradingPair
metadata:
  name: ko-pep
spec:
  sector: consumer
  legs: [KO, PEP]
"""


def sectors_faults(text: str) -> list[str]:
    """The lines of the error that a sectors.yaml of this text raises."""
    with pytest.raises(BadSetting) as caught:
        parse_sectors("f", text)
    return str(caught.value).splitlines()


def manifest_faults(*texts: str) -> list[str]:
    """The lines of the error that these files, named f0, f1 and so on, raise."""
    with pytest.raises(BadSetting) as caught:
        read_pairs([(f"f{number}", text) for number, text in enumerate(texts)])
    return str(caught.value).splitlines()


def test_the_shipped_sectors_load() -> None:
    """Six sectors are active and a symbol is found in its sector."""
    sectors = load_sectors(SHIPPED)
    assert sectors.active == ("technology", "healthcare", "financial", "energy", "consumer", "index")
    assert (sectors.sector_of("KO"), sectors.sector_of("SPY"), sectors.sector_of("ZZZZ")) == ("consumer", "index", None)


def test_the_shipped_pairs_are_of_listed_symbols_in_active_sectors() -> None:
    """Every declared default can trade as the files are."""
    sectors = load_sectors(SHIPPED)
    for spec in load_pairs(SHIPPED):
        assert {spec.leg_a, spec.leg_b} <= set(sectors.active_symbols(spec.sector)), spec.pair


def test_the_preset_pairs_holds_the_legs_of_the_declared_pairs() -> None:
    """The preset and config/pairs say the same."""
    legs = {leg for spec in load_pairs(SHIPPED) for leg in (spec.leg_a, spec.leg_b)}
    assert set(load_sectors(SHIPPED).presets["pairs"]) == legs


def test_a_preset_narrows_the_symbols_in_use() -> None:
    """Only what the preset holds and an active sector lists is in use."""
    sectors = parse_sectors("f", "sectors: {a: [X, Y], b: [Z]}\nactive: [a]\nactive_symbols: p\npresets: {p: [Y, Z]}\n")
    assert (sectors.active_symbols("a"), sectors.active_symbols("b"), sectors.active_symbols("c")) == (("Y",), (), ())


def test_a_pair_is_in_use_when_its_sector_is_active_and_the_preset_holds_its_legs() -> None:
    """What a platform declares at its start."""
    (spec,) = (pair.spec for pair in read_pairs([("f", PAIR)]))
    text = "sectors: {consumer: [KO, PEP, PG], energy: [XOM]}\npresets: {one: [KO], both: [KO, PEP]}\n"
    in_use = [
        parse_sectors("f", f"{text}active: [{active}]\nactive_symbols: {preset}\n").in_use(spec)
        for active, preset in (("consumer", "all"), ("consumer", "both"), ("consumer", "one"), ("energy", "all"))
    ]
    assert in_use == [True, True, False, False]


def test_without_a_preset_all_symbols_of_active_sectors_are_in_use() -> None:
    """`active_symbols` may be left out."""
    assert parse_sectors("f", "sectors: {a: [X, Y]}\nactive: [a]\n").active_symbols("a") == ("X", "Y")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("sectors: {a: [X]}\nactive: [a]\nother: 1\n", "f:3: unknown key 'other'"),
        ("sectors:\n  Tech: [X]\n  a: [Y]\nactive: [a]\n", "f:2: sector 'Tech'"),
        ("sectors:\n  a:\n    - X\n    - x\nactive: [a]\n", "f:4: symbol 'x'"),
        ("sectors:\n  a:\n    - X\n    - X\nactive: [a]\n", "f:4: symbol X is listed twice"),
        ("sectors:\n  a: [X]\n  b: [X]\nactive: [a]\n", "f:3: symbol X is listed in sector a too"),
        ("sectors:\n  a: [true]\nactive: [a]\n", "f:2: sectors.a: found True, must be text"),
        ("sectors:\n  a: X\nactive: [a]\n", "f:2: sectors.a: found 'X', must be a list"),
        ("sectors: [a]\nactive: [a]\n", "f:1: sectors: found ['a'], must be a mapping"),
        ("sectors: {a: [X]}\nactive: [b]\n", "f:2: unknown sector 'b', known are a"),
        ("sectors: {a: [X]}\nactive: [a, a]\n", "f:2: sector a is active twice"),
        ("sectors: {a: [X]}\nactive: []\n", "f:2: no sector is active"),
        ("sectors: {a: [X]}\nactive: [a]\nactive_symbols: q\n", "f:3: unknown preset 'q', known are all"),
        ("sectors: {a: [X]}\nactive: [a]\npresets:\n  p: [Q]\n", "f:4: preset p: no sector lists Q"),
        ("sectors: {a: [X]}\nactive: [a]\npresets:\n  all: [X]\n", "f:4: preset 'all' is built in"),
        ("sectors: {a: [X]\n", "f:2: not readable as YAML"),
        ("sectors: {a: [X]}\nsectors: {}\n", "f:2: not readable as YAML: found duplicate key"),
        ("- a\n", "f: a document is a CommentedSeq"),
        ("", "f: 0 YAML documents"),
    ],
)
def test_a_fault_in_sectors_yaml_is_named_with_its_line(text: str, fault: str) -> None:
    """File, line, what was found and what is allowed."""
    assert any(line.startswith(fault) for line in sectors_faults(text)), sectors_faults(text)


def test_all_faults_of_sectors_yaml_are_told_at_once() -> None:
    """One line for each."""
    assert len(sectors_faults("sectors:\n  a: [x, y]\nactive: [a, b]\nother: 1\n")) == 4


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Without sectors.yaml nothing starts, and the message tells which file was looked for."""
    with pytest.raises(BadSetting, match=r"sectors\.yaml: no such file"):
        load_sectors(tmp_path)


def test_no_folder_of_pairs_declares_no_pairs(tmp_path: Path) -> None:
    """A fresh installation may declare none."""
    assert load_pairs(tmp_path) == ()


def test_one_file_may_hold_many_manifests() -> None:
    """Documents are separated as in Kubernetes; empty ones do not count."""
    second = PAIR.replace("ko-pep", "hd-wmt").replace("[KO, PEP]", "[HD, WMT]")
    assert [pair.spec.pair for pair in read_pairs([("f", f"---\n{PAIR}---\n---\n{second}")])] == ["KO-PEP", "HD-WMT"]


def test_a_fault_in_a_manifest_is_named_with_its_line() -> None:
    """The line of the value, in the second document too."""
    assert manifest_faults(f"{PAIR}---\n{PAIR.replace('[KO, PEP]', '[HD, wmt]')}")[0].startswith("f0:15: spec.legs.1: found 'wmt'")


def test_a_pair_declared_twice_is_refused_with_both_places() -> None:
    """Also in two files and under another name."""
    assert manifest_faults(PAIR, PAIR.replace("ko-pep", "drinks")) == [
        "f1:4: pair KO-PEP is declared at f0:4 already, once is allowed",
    ]


def test_a_pair_declared_with_its_legs_turned_is_refused() -> None:
    """PEP-KO is the same bet as KO-PEP."""
    assert manifest_faults(PAIR, PAIR.replace("[KO, PEP]", "[PEP, KO]")) == [
        "f1:4: pair PEP-KO is declared as KO-PEP at f0:4 already, once is allowed",
    ]


def test_a_file_that_is_no_yaml_does_not_hide_the_faults_of_the_others() -> None:
    """All files are read before any is refused."""
    assert len(manifest_faults("spec: [", PAIR.replace("consumer", "Consumer"))) == 2


def test_plain_words_are_read_as_kubectl_reads_them() -> None:
    """A leg written ON is true for kubectl: both refuse it, and tell to quote it; quoted it is a symbol."""
    assert "quote it" in manifest_faults(PAIR.replace("[KO, PEP]", "[ON, PEP]"))[0]
    assert read_pairs([("f", PAIR.replace("[KO, PEP]", '["ON", PEP]'))])[0].spec.pair == "ON-PEP"


ACCOUNT = """\
apiVersion: tandem.trading/v1alpha1
kind: TradingAccount
metadata: {name: paper}
spec: {source: recycled, mode: Halted, reason: drill}
"""


def test_pairs_and_accounts_may_stand_beside_each_other() -> None:
    """In one file, in any order."""
    declared = read_declarations([("f", f"{ACCOUNT}---\n{PAIR}")])
    assert [pair.spec.pair for pair in declared.pairs] == ["KO-PEP"]
    assert [(one.where, one.state) for one in declared.accounts] == [
        ("f:3", TradingState(scope="account/paper", mode=TradingMode.HALTED, reason="drill"))
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"{ACCOUNT}---\n{ACCOUNT}", "f:8: account paper is declared at f:3 already, once is allowed"),
        (ACCOUNT.replace("TradingAccount", "SectorModel"), "f:2: kind: found 'SectorModel', must be 'TradingPair' or 'TradingAccount'"),
        (ACCOUNT.replace("recycled", "paper"), "f:4: spec: source live and paper need secretRef"),
        (ACCOUNT.replace("kind: TradingAccount\n", ""), "f:1: kind: found None, must be 'TradingPair' or 'TradingAccount'"),
    ],
)
def test_a_fault_among_declarations_is_named_with_its_line(text: str, fault: str) -> None:
    """As for pairs alone."""
    with pytest.raises(BadSetting) as error:
        read_declarations([("f", text)])
    assert str(error.value).startswith(fault)


def test_a_folder_of_pairs_holds_pairs_only() -> None:
    """config/pairs is read at each start: an account's mode there would undo the kill switch."""
    assert manifest_faults(ACCOUNT)[0].startswith("f0:2: kind: found 'TradingAccount', must be 'TradingPair'")
