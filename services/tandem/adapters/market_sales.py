"""Sale conditions of recorded trades: the columns `conditions` and `tape` of a file of trades, as Alpaca's `c` and `z` say them.

`conditions` is a text, each character of it a code, or a list of codes; an empty one is a regular sale. Called by adapters/market_pieces.py
and adapters/market_file.py, which read files, and by adapters/history_parts.py, which writes them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.adapters.market_columns import Columns
from tandem.domain.conditions import sale_flags

_CONDITIONS, _TAPE = "conditions", "tape"
_NO_CODE = "?"  # for what is no single character: no tape has it, and so it sets no price
Sale = tuple[str, str]  # tape, and codes as a text


def sale_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Those of a file's columns that say sale conditions; none where it has no conditions."""
    return tuple(name for name in (_CONDITIONS, _TAPE) if name in names) if _CONDITIONS in names else ()


def sales_of(columns: Columns) -> tuple[NDArray[np.int64], list[Sale]]:
    """(n,) number of each row's tape and codes among those that there are. Raises BadRecord for columns of another type."""
    codes, texts = columns.labels(_CONDITIONS)
    if _TAPE not in columns.table.column_names:
        return codes, [("", text) for text in texts]
    tapes, names = columns.labels(_TAPE)
    found, index = np.unique(tapes * len(texts) + codes, return_inverse=True)
    return index.astype(np.int64), [(names[both // len(texts)], texts[both % len(texts)]) for both in found.tolist()]


def flags_of(sales: Sequence[Sale]) -> NDArray[np.uint8]:
    """The flags of a trade for each of them."""
    return np.array([sale_flags(tape, codes) for tape, codes in sales], np.uint8)


def codes_text(codes: Any) -> str:
    """The codes of a message as a text."""
    if not isinstance(codes, (list, tuple)):
        return "" if codes is None else _NO_CODE
    return "".join(code if isinstance(code, str) and len(code) == 1 else _NO_CODE for code in codes if code != "")
