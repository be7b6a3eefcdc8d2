"""Trades of the past as REST tells them: with what became of them by now. Called by data_api.py.

u is Alpaca's: "canceled" for a trade that never was, "incorrect" for one that was wrong and "corrected" for what it should have been, both
under the same id and time.
"""

from typing import Any

import numpy as np

from tandem.adapters.tick_build import Fix
from tandem.domain.ids import Symbol
from tandem.recycler.encoding import trade_document
from tandem.recycler.history import History


class PastTrades:
    """Of one recording."""

    def __init__(self, history: History) -> None:
        self._store = history.store
        self._fixes: dict[int, list[Fix]] = {}  # by the place of the trade, in order
        for fix in history.store.fixes:
            self._fixes.setdefault(fix.trade, []).append(fix)

    def documents(self, place: int, known: int) -> list[dict[str, Any]]:
        """The trade at a place, and what corrected it among the ticks before `known`."""
        fixes = [fix for fix in self._fixes.get(place, ()) if fix.place < known]
        if not fixes:
            return [self._document(place)]
        if fixes[-1].cancels:
            return [{**self._document(place), "u": "canceled"}]
        fixed = {"p": fixes[-1].price, "s": fixes[-1].size, "u": "corrected"}
        return [{**self._document(place), "u": "incorrect"}, {**self._document(place), **fixed}]

    def latest(self, name: Symbol, known: int) -> dict[str, Any] | None:
        """The symbol's last trade that may set prices and stands, as it stands.

        Alpaca's may be months older than the trades that follow it (alpacahq/Alpaca-API#267), and so is no newest trade either.
        """
        places = self._store.priced[name]
        for count in range(int(np.searchsorted(places, known, side="left")), 0, -1):
            document = self.documents(int(places[count - 1]), known)[-1]
            if document.get("u") != "canceled":
                return {key: value for key, value in document.items() if key != "u"}
        return None

    def _document(self, place: int) -> dict[str, Any]:
        tick = self._store.data.ticks[place]
        return trade_document(None, tick, self._store.sale_at(place))
