"""Sale conditions: what a trade of the consolidated tape may change. A table by tape of the codes that a trade message carries.

A trade either sets prices and counts, or only its shares count, or it says what others have counted already and changes nothing. The
rules are those by which Alpaca makes minute bars (Market Data FAQ, "How are bars aggregated?", docs.alpaca.markets/docs/market-data-faq),
which are the consolidated columns of the plans' tables of sale conditions (CTA: CTS Pillar Output Specification; UTP: UTP Data Feed
binary output specification, whose codes 1 and S Alpaca leaves out; FINRA: TDDS 2.1), with the plans' "only if it is the first of the
day" taken as no. In minute bars whatever may set a high or low may also set a first or last price, so that one bit is enough for both.
The same rules hold for bars of every length here: a price that another moment made is none of this one's.

A trade of several codes goes by the strictest. A code that its tape does not have sets no price, and its shares count: what we do not
know must not move a price. Where the tape is not named, or unknown, a code goes by the strictest of all tapes that have it. Prints of
FINRA's trade reporting facilities carry the codes of the tape on which the symbol is listed. Called by ingestor and adapters/.
"""

from collections.abc import Hashable, Iterable, Mapping
from enum import IntEnum
from functools import lru_cache
from types import MappingProxyType

CTA, UTP, OTC = "AB", "C", "O"  # tapes
TRADE_UNCOUNTED = 128  # of a trade's flags: its shares are no volume, besides


class Sale(IntEnum):
    """Why a trade sets no price; 0: it sets one. On the wire in a trade's flags: numbers are never given twice."""

    PRICED = 0
    UNKNOWN_CODE = 1
    AVERAGE_PRICE = 2
    CASH = 3
    BUNCHED_SOLD = 4
    PRICE_VARIATION = 5
    ODD_LOT = 6
    OFFICIAL_CLOSE = 7
    NEXT_DAY = 8
    PRIOR_REFERENCE = 9
    OFFICIAL_OPEN = 10
    SELLER = 11
    EXTENDED_OUT_OF_SEQUENCE = 12
    CONTINGENT = 13
    OUT_OF_SEQUENCE = 14
    DERIVATIVELY_PRICED = 15
    QUALIFIED_CONTINGENT = 16
    CORRECTED_CLOSE = 17


# What the listing market tells about prices that its own trades made: the shares stand in those.
_UNCOUNTED = frozenset({Sale.OFFICIAL_CLOSE, Sale.OFFICIAL_OPEN, Sale.CORRECTED_CLOSE})
_EVERY = CTA + UTP + OTC
# Regular sale is a space on tapes A and B and @ on the others; both are taken on all, as is no code at all.
_PRICED = {
    _EVERY: ("", " ", "@", "T"),  # T, extended hours: a price of its own hours, and no session's bar holds one
    CTA + UTP: ("F", "K", "L", "O", "X", "5", "6"),  # sweep, rules 127 and 155, sold last, opening, cross, reopening, closing
    CTA: ("E",),  # automatic execution
    UTP: ("A", "B", "D", "S", "Y", "1"),  # acquisition, bunched, distribution, split, yellow flag, stopped stock
}
_UNPRICED = (
    (CTA, "B", Sale.AVERAGE_PRICE),
    (UTP + OTC, "W", Sale.AVERAGE_PRICE),
    (_EVERY, "C", Sale.CASH),
    (UTP, "G", Sale.BUNCHED_SOLD),
    (CTA + UTP, "H", Sale.PRICE_VARIATION),
    (_EVERY, "I", Sale.ODD_LOT),
    (CTA + UTP, "M", Sale.OFFICIAL_CLOSE),
    (_EVERY, "N", Sale.NEXT_DAY),
    (_EVERY, "P", Sale.PRIOR_REFERENCE),
    (CTA + UTP, "Q", Sale.OFFICIAL_OPEN),
    (_EVERY, "R", Sale.SELLER),
    (_EVERY, "U", Sale.EXTENDED_OUT_OF_SEQUENCE),
    (CTA + UTP, "V", Sale.CONTINGENT),
    (CTA + UTP, "Z", Sale.OUT_OF_SEQUENCE),
    (CTA + UTP, "4", Sale.DERIVATIVELY_PRICED),
    (CTA + UTP, "7", Sale.QUALIFIED_CONTINGENT),
    (CTA + UTP, "9", Sale.CORRECTED_CLOSE),
)
_COMBINATIONS_MAX = 4_096  # of tape and codes that are remembered; a day of the tape has some hundred


def _tables() -> Mapping[str, Mapping[str, Sale]]:
    found: dict[str, dict[str, Sale]] = {tape: {} for tape in _EVERY}
    for tapes, codes in _PRICED.items():
        for tape in tapes:
            found[tape] |= dict.fromkeys(codes, Sale.PRICED)
    for tapes, code, sale in _UNPRICED:
        for tape in tapes:
            found[tape][code] = sale
    return MappingProxyType({tape: MappingProxyType(table) for tape, table in found.items()})


def _strictest_of(tables: Iterable[Mapping[str, Sale]]) -> Mapping[str, Sale]:
    found: dict[str, Sale] = {}
    for table in tables:
        for code, sale in table.items():
            found[code] = max(found.get(code, Sale.PRICED), sale, key=_strictness)
    return MappingProxyType(found)


def _strictness(sale: Sale) -> int:
    """The unknown goes before what is known to have the same effect, so that it is told."""
    if sale in _UNCOUNTED:
        return 3
    return 2 if sale is Sale.UNKNOWN_CODE else int(sale is not Sale.PRICED)


TABLES = _tables()  # by tape, what each code that it has means
_ANY_TAPE = _strictest_of(TABLES.values())
# Codes with which a trade sets prices whatever its tape.
PLAIN_CODES = frozenset(code for code in _ANY_TAPE if all(table.get(code) is Sale.PRICED for table in TABLES.values()))


def sale_flags(tape: object, codes: object) -> int:
    """A trade's flags: 0 if it sets prices, else why not, and TRADE_UNCOUNTED if its shares do not count either.

    tape, codes: as a message has them (`z`, `c`); no codes, or None, are a regular sale. What are no codes at all is an unknown code.
    """
    if codes is None:
        return 0
    try:
        return flags_of_sale(tape, tuple(codes))  # type: ignore[arg-type]  # what cannot be iterated is the TypeError
    except TypeError:
        return int(Sale.UNKNOWN_CODE)


@lru_cache(maxsize=_COMBINATIONS_MAX)
def flags_of_sale(tape: Hashable, codes: tuple[Hashable, ...]) -> int:
    """The same for codes as a tuple: remembered, as few combinations make up the tape. Raises TypeError for what cannot be a key."""
    table = TABLES.get(tape, _ANY_TAPE)  # type: ignore[call-overload]  # a key of another type is one that is not there
    sale: Sale = max((table.get(code, Sale.UNKNOWN_CODE) for code in codes), key=_strictness, default=Sale.PRICED)
    return int(sale) | (TRADE_UNCOUNTED if sale in _UNCOUNTED else 0)


def reason_of(flags: int) -> str:
    """Why a trade of these flags sets no price, in one word; a number that a later version gave is an unknown code."""
    try:
        return Sale(flags & ~TRADE_UNCOUNTED).name.lower()
    except ValueError:
        return Sale.UNKNOWN_CODE.name.lower()


REASONS = tuple(sale.name.lower() for sale in Sale if sale is not Sale.PRICED)
