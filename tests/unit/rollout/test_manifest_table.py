"""Manifests of the four kinds: the good ones are taken, each bad one is refused by its rule at its place. The API server holds the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifest_table import BAD, GOOD, SERVER_WORDS, Bad, pair
from tandem.domain.ids import sector_id, symbol
from tandem.rollout.crd import KINDS, Kind
from tandem.rollout.faults import changed, parse
from tandem.rollout.resources import Rule, Strict

MODELS = {kind.name: kind.model for kind in KINDS}


def taken(document: dict[str, Any]) -> Strict:
    """The manifest, which must be valid."""
    parsed = parse(MODELS[document["kind"]], document)
    assert isinstance(parsed, Strict), parsed
    return parsed


@pytest.mark.parametrize("document", GOOD, ids=lambda document: document["kind"])
def test_a_good_manifest_is_taken(document: dict[str, Any]) -> None:
    """As is, and again as the cluster would show it."""
    assert taken(document | {"status": {"conditions": []}}).model_dump(exclude={"status"}) == taken(document).model_dump(exclude={"status"})


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_manifest_is_refused_by_its_rule(bad: Bad) -> None:
    """One fault, one refusal, at the place of the fault; a change is judged against what is declared."""
    parsed = parse(MODELS[bad.manifest["kind"]], bad.manifest)
    faults = parsed if isinstance(parsed, tuple) else changed(taken(bad.old or bad.manifest), parsed)
    assert [(fault.rule, ".".join(map(str, fault.path))) for fault in faults] == [(bad.rule, bad.path)]
    assert faults[0].message.startswith(f"{bad.path or 'manifest'}: ")


def test_what_stands_already_may_be_declared_again() -> None:
    """No rule about changes refuses a manifest that changes nothing."""
    assert [changed(taken(document), taken(document)) for document in GOOD] == [()] * len(GOOD)


def rules(model: type[Strict]) -> set[str]:
    """The names of the rules of a model and of its parts."""
    found = {rule.name for rule in (*model.RULES, *model.CHANGE_RULES)}
    for part in model.model_fields.values():
        if isinstance(part.annotation, type) and issubclass(part.annotation, Strict):
            found |= rules(part.annotation)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_rule_has_a_bad_manifest(kind: Kind) -> None:
    """No rule stands untested, and what is no rule of ours has a word of the API server's."""
    names = {bad.rule for bad in BAD if bad.manifest["kind"] == kind.name}
    assert rules(kind.model) <= names
    assert names - rules(kind.model) <= set(SERVER_WORDS)


def test_rules_have_names_of_their_own() -> None:
    """A name says which rule it was, also in the words of pydantic."""
    named: list[Rule] = [rule for kind in KINDS for model in (kind.model, kind.spec) for rule in model.RULES]
    assert len({rule.name for rule in named}) == len(named)
    assert not {name for kind in KINDS for name in rules(kind.model)} & set(SERVER_WORDS)


@given(st.one_of(st.text(max_size=12), st.from_regex(r"[A-Z][A-Z0-9.]{0,10}\n?", fullmatch=True)))
def test_the_pattern_of_a_symbol_is_the_domain_s(text: str) -> None:
    """Manifests and the domain take the same symbols; the pattern in the definitions is written from the domain's."""
    try:
        expected = symbol(text) == text
    except ValueError:
        expected = False
    assert isinstance(parse(MODELS["TradingPair"], pair(legs=[text, "ZZZZZZZZZZ"])), Strict) == (expected and text != "ZZZZZZZZZZ")


@given(st.from_regex(r"[a-z][a-z0-9-]{0,41}", fullmatch=True))
def test_the_pattern_of_a_sector_is_the_domain_s(text: str) -> None:
    """As for symbols."""
    try:
        expected = sector_id(text) == text
    except ValueError:
        expected = False
    assert isinstance(parse(MODELS["TradingPair"], pair(sector=text)), Strict) == expected
