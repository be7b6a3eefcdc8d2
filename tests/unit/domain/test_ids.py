"""Names and ids: what is refused, and that ids depend on every part of their input and on nothing else."""

import pytest

from tandem.domain import ids


@pytest.mark.parametrize("text", ["KO", "BRK.B", "A", "ABCDEFGHIJ"])
def test_symbols_of_us_tickers_are_accepted(text: str) -> None:
    """Capitals, digits and dots, a letter first."""
    assert ids.symbol(text) == text


@pytest.mark.parametrize("text", ["", "ko", "1A", "A B", "KO-PEP", "ABCDEFGHIJK", ".A"])
def test_other_symbols_are_refused_with_the_rule(text: str) -> None:
    """The message shows what was found and what is allowed."""
    with pytest.raises(ValueError, match="allowed are"):
        ids.symbol(text)


@pytest.mark.parametrize("text", ["", "Tech", "9x", "a_b", "x" * 41])
def test_sectors_that_cannot_be_part_of_a_topic_are_refused(text: str) -> None:
    """A sector names Kafka topics and models."""
    with pytest.raises(ValueError, match="allowed are"):
        ids.sector_id(text)


def test_pair_and_its_legs_are_inverse() -> None:
    """The order of the legs is kept: it is the direction of the spread."""
    assert ids.pair_legs(ids.pair_id("PEP", "KO")) == ("PEP", "KO")


@pytest.mark.parametrize("text", ["KO", "KO-PEP-X", "KO-KO", "ko-PEP"])
def test_malformed_pairs_are_refused(text: str) -> None:
    """A pair is two different symbols."""
    with pytest.raises(ValueError, match=r"legs must differ|expected two symbols|allowed are"):
        ids.pair_legs(text)


def test_order_ids_differ_in_each_part_and_fit_the_broker() -> None:
    """Every part of the input counts, and 48 characters are never exceeded."""
    base = ("run", "KO-PEP", 1, "digest", "open_long")
    variants = {ids.intent_id(*base)}
    for position, other in enumerate(["run2", "KO-PEQ", 2, "digest2", "close"]):
        changed = list(base)
        changed[position] = other
        variants.add(ids.intent_id(*changed))
    orders = {ids.client_order_id(intent, leg, attempt) for intent in variants for leg in "ab" for attempt in (0, 99)}
    assert len(variants) == 6
    assert len(orders) == 24
    assert max(map(len, orders)) <= 48


def test_the_hash_does_not_confuse_where_one_part_ends() -> None:
    """("ab", "c") and ("a", "bc") are different inputs."""
    assert ids.short_hash("ab", "c") != ids.short_hash("a", "bc")


def test_ids_are_stable_across_releases() -> None:
    """A changed id would double orders on a replay over an existing ledger, so the values are pinned."""
    assert ids.client_order_id(ids.intent_id("r", "KO-PEP", 7, "d", "close"), "a", 0) == "tdm-d01042f904914cad1fb942fe0d45-a-0"
