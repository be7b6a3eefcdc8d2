"""Names and ids. An id is derived from its input, so that a replay of the same log writes the same ids."""

import hashlib
import re
import uuid
from typing import NewType

Symbol = NewType("Symbol", str)
SectorId = NewType("SectorId", str)
PairId = NewType("PairId", str)  # "KO-PEP": leg a, then leg b

SYMBOL_PATTERN = r"[A-Z][A-Z0-9.]{0,9}"
SECTOR_PATTERN = r"[a-z][a-z0-9-]{0,39}"
_SYMBOL = re.compile(SYMBOL_PATTERN)
_SECTOR = re.compile(SECTOR_PATTERN)
_NAMESPACE = uuid.UUID("6f1c7f0e-9d5e-5c39-8d2b-0c8e1a4f7b21")  # fixed for ever: broker-side ids hang on it


def symbol(text: str) -> Symbol:
    """A ticker in capitals, e.g. "BRK.B". Raises ValueError otherwise."""
    if not _SYMBOL.fullmatch(text):
        raise ValueError(f"symbol {text!r}: allowed are 1-10 of A-Z, 0-9 and '.', a letter first")
    return Symbol(text)


def sector_id(text: str) -> SectorId:
    """A sector's name; it is part of topic and model names. Raises ValueError otherwise."""
    if not _SECTOR.fullmatch(text):
        raise ValueError(f"sector {text!r}: allowed are 1-40 of a-z, 0-9 and '-', a letter first")
    return SectorId(text)


def pair_id(leg_a: str, leg_b: str) -> PairId:
    """The pair's id in the order of its legs: the spread is log a - beta log b - mu."""
    if leg_a == leg_b:
        raise ValueError(f"pair {leg_a}-{leg_b}: the legs must differ")
    return PairId(f"{symbol(leg_a)}-{symbol(leg_b)}")


def pair_legs(pair: str) -> tuple[Symbol, Symbol]:
    """The two legs of "A-B". Raises ValueError if it is not two different symbols."""
    legs = pair.split("-")
    if len(legs) != 2:
        raise ValueError(f"pair {pair!r}: expected two symbols joined by '-', e.g. KO-PEP")
    pair_id(*legs)
    return Symbol(legs[0]), Symbol(legs[1])


def short_hash(*parts: object, length: int = 20) -> str:
    """Hex digest of the parts, which are joined by an unprintable separator so that ("ab","c") is not ("a","bc")."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def intent_id(run: str, pair: str, bar_close_ns: int, model_digest: str, action: str) -> str:
    """The id of the decision to open or close a pair at one bar under one model, within one run (replay or live)."""
    return short_hash("intent", run, pair, bar_close_ns, model_digest, action)


def client_order_id(intent: str, leg: str, attempt: int) -> str:
    """The broker's client_order_id: at most 48 characters, the oldest documented limit of Alpaca."""
    if not 0 <= attempt < 100:
        raise ValueError(f"attempt {attempt}: allowed are 0 to 99")
    return f"tdm-{short_hash(intent, leg, attempt, length=28)}-{leg[:8].lower()}-{attempt}"


def entry_id(kind: str, source_id: str) -> str:
    """The id of a ledger entry, from what caused it: an execution, a fee, a deposit."""
    return short_hash("entry", kind, source_id)


def derived_uuid(*parts: object) -> str:
    """A UUID (version 5) from the parts, for wire fields that must be UUIDs."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(str(part) for part in parts)))
