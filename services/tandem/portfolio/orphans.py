"""Held pairs that the version which now decides them does not hold: no forecast of theirs would ever come, and nobody would close them.

A bar without a forecast is nothing unusual, since a leg may not trade in it. So a pair counts as lost only when the routed version has
never forecast it and has forecast other pairs for some bars. Then it is closed, at the market, on the last forecast that there was.
Called by desk.py.
"""

from collections.abc import Mapping

from tandem.domain.control import RoutingPointer
from tandem.domain.ids import PairId, SectorId
from tandem.domain.trading import PairState
from tandem.flow.barrier import Decidable
from tandem.flow.routing import acted_versions, version_for
from tandem.portfolio.books import Books

BARS_MAX = 5  # of the routed version without the pair; one is not enough, see above, and at a bar a day five are a week


class Orphans:
    """Counts, by pair, the bars that its routed version has published without it."""

    def __init__(self) -> None:
        self._bars: dict[PairId, int] = {}

    def follow(self, bar: Decidable, books: Books, pointers: Mapping[SectorId, RoutingPointer]) -> tuple[PairId, ...]:
        """The pairs that are lost as of this bar, in order of id; each again at every bar until it is not held any more.

        bar: as the barrier let it through, with all forecasts of every version.
        """
        spoken = {(b.sector, b.model.version) for b in bar.batches if b.forecasts}
        heard: dict[tuple[SectorId, str], set[PairId]] = {}
        for batch in bar.batches:
            heard.setdefault((batch.sector, batch.model.version), set()).update(forecast.pair for forecast in batch.forecasts)
        opened_by, lost = books.opened_by, []
        for pair, execution in sorted(books.executions.items()):
            pointer = pointers.get(execution.sector)
            if pointer is None or execution.held is None or execution.state is not PairState.HEDGED:
                self._bars.pop(pair, None)
                continue
            version = version_for(pointer, pair, opened_by.get(pair))
            assert version in acted_versions(pointer)
            known = execution.held.digest == _digest(pointer, version) or pair in heard.get((execution.sector, version), ())
            if known:
                self._bars.pop(pair, None)
            elif (execution.sector, version) in spoken:
                self._bars[pair] = self._bars.get(pair, 0) + 1
            if self._bars.get(pair, 0) >= BARS_MAX:
                lost.append(pair)
        return tuple(lost)


def _digest(pointer: RoutingPointer, version: str) -> str:
    named = [pointer, pointer.canary, pointer.previous]
    return next(pinned.digest for pinned in named if pinned is not None and pinned.version == version)
