"""Follows each pair from bar to bar: whether its spread drifts, whether it rests after a stop, how wide its stop is, whether it has prices.

Keeps what must survive a restart in the books. Decides nothing: flow/drift.py, flow/stops.py and the tables of flow/signals.py do.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from tandem.adapters import telemetry
from tandem.domain.control import PairSpec
from tandem.domain.forecasts import Forecast, ForecastBatch
from tandem.domain.ids import PairId, Symbol
from tandem.domain.market import SessionGrid
from tandem.domain.units import NS_PER_S
from tandem.flow import drift, stops
from tandem.flow.corporate import trained_since
from tandem.flow.drift import DriftLimits
from tandem.flow.journal import GuardRecord
from tandem.flow.signals import Outlook
from tandem.flow.stops import REST_AFTER, Rest, StopLimits
from tandem.portfolio.board import Board
from tandem.portfolio.books import Books

_DRIFT, _REST, _BROKEN = "drift", "rest", "corporate"


class Watch:
    """The pairs of one account."""

    def __init__(
        self, books: Books, stop_limits: StopLimits, drift_limits: DriftLimits, *, price_age_s_max: float, grid: SessionGrid | None = None
    ) -> None:
        """grid: sessions and bars, by which a model is known to be of before a corporate action; without it every other one is of after."""
        self._grid = grid
        self._books, self._stops, self._drift, self._price_age_s_max = books, stop_limits, drift_limits, price_age_s_max
        self._drifts = {PairId(pair): drift.state_of(row) for _, found in _known(books, _DRIFT) for pair, row in found["pairs"].items()}
        self._rests = {PairId(pair): stops.rest_of(found) for pair, found in _known(books, _REST)}
        self._unpriced: frozenset[Symbol] = frozenset()
        self._ending = False
        self._broken = {PairId(pair): (str(found["digest"]), int(found.get("ex_ns", 0))) for pair, found in _known(books, _BROKEN)}

    def take(self, batches: Iterable[ForecastBatch], specs: Mapping[PairId, PairSpec], at_ns: int) -> None:
        """The forecasts of a bar that are acted on, before anything is decided on them."""
        for batch in batches:
            for forecast in batch.forecasts:
                digest = batch.model.digest
                if forecast.pair in self._broken and self._is_mended(forecast, digest, at_ns):
                    self._set_broken(forecast.pair, "", 0, at_ns)
                self._take_drift(forecast, digest, at_ns)
                rest, spec = self._rests.get(forecast.pair), specs.get(forecast.pair)
                if rest is not None and spec is not None:
                    self._put_rest(forecast.pair, stops.rested(rest, forecast, spec, digest=digest, at_ns=at_ns), at_ns)

    def keep(self, batches: Iterable[ForecastBatch], at_ns: int) -> None:
        """Remember what the bar's forecasts have changed, after its orders have left: who is killed before reads the bar again."""
        for batch in batches:
            if batch.forecasts:
                rows: dict[str, Any] = dict(self._books.guards.get((_DRIFT, batch.sector), {}).get("pairs", {}))
                rows |= {forecast.pair: drift.row(self._drifts[forecast.pair]) for forecast in batch.forecasts}
                self._books.put_guard(GuardRecord(name=_DRIFT, scope=batch.sector, document={"pairs": rows}, event_ns=at_ns))
        telemetry.gauge("portfolio_pairs_drifting").set(sum(state.drifting for state in self._drifts.values()))
        telemetry.gauge("portfolio_pairs_resting").set(len(self._rests))

    def look(self, market: Board, at_ns: int, *, ending: bool = False) -> None:
        """Which symbols have no price that a stop may rely on. ending: held pairs are closed now, as their session ends."""
        self._ending = ending
        oldest_ns = at_ns - int(self._price_age_s_max * NS_PER_S)
        self._unpriced = market.without_price(oldest_ns)

    def outlook(self, forecast: Forecast, *, held: bool = True) -> Outlook:
        """What the rules may know of a pair besides its forecast. held: its stop counts; one that is flat has none."""
        state = self._drifts.get(forecast.pair)
        return _outlook(
            stops.widening(forecast, self._stops) if held else 1.0,
            forecast.leg_a not in self._unpriced and forecast.leg_b not in self._unpriced,
            forecast.pair not in self._broken,
            state is not None and state.drifting,
            forecast.pair in self._rests,
            self._ending,
        )

    def _is_mended(self, forecast: Forecast, digest: str, at_ns: int) -> bool:
        """Whether the pair is forecast by another model than the one that was broken, and not by one as old."""
        broken, ex_ns = self._broken[forecast.pair]
        if digest == broken or self._grid is None or not ex_ns:
            return digest != broken
        return trained_since(self._grid, ex_ns, at_ns=at_ns, bar_index=forecast.bar_index)

    def broken(self, pair: PairId, at_ns: int, ex_ns: int) -> None:
        """The model of the pair's newest forecast was not trained on such prices; one that was trained since the ex-day ends this."""
        known = self._books.latest.get(pair)
        state = self._drifts.get(pair)
        digest = known[1].digest if known is not None else state.digest if state is not None else ""
        if digest:
            self._set_broken(pair, digest, ex_ns, at_ns)
            waits = "it neither opens nor stops nor takes profit until a version that was trained since is acted on"
            self._books.alarm(f"pair/{pair}", "waits_for_model", f"version of digest {digest[:12]} knows other prices: {waits}", at_ns)

    def _set_broken(self, pair: PairId, digest: str, ex_ns: int, at_ns: int) -> None:
        if digest:
            self._broken[pair] = digest, ex_ns
        else:
            self._broken.pop(pair, None)
        document: dict[str, Any] = {"digest": digest, "ex_ns": ex_ns} if digest else {}
        self._books.put_guard(GuardRecord(name=_BROKEN, scope=pair, document=document, event_ns=at_ns))

    def closed(self, forecast: Forecast, digest: str, reason: str, at_ns: int) -> None:
        """A pair is being closed; for some reasons it rests afterwards."""
        if reason in REST_AFTER:
            rest = Rest(reason=reason, digest=digest, half_life_bars=forecast.half_life_bars, at_ns=at_ns)
            self._put_rest(forecast.pair, rest, at_ns)
            self._books.alarm(f"pair/{forecast.pair}", "resting", f"after {reason}: opens again on a new excursion only", at_ns)

    def _take_drift(self, forecast: Forecast, digest: str, at_ns: int) -> None:
        old = self._drifts.get(forecast.pair)
        new = drift.step(old, forecast, digest, self._drift)
        self._drifts[forecast.pair] = new
        if new.drifting and not (old is not None and old.drifting):
            detail = f"reverts slower than its model by {new.t:.1f} standard errors, below {self._drift.t_max:g} allowed"
            self._books.alarm(f"pair/{forecast.pair}", "drift", detail, at_ns)

    def _put_rest(self, pair: PairId, rest: Rest, at_ns: int) -> None:
        document: dict[str, Any] = {}
        if rest.is_over(self._stops):
            self._rests.pop(pair, None)
        else:
            self._rests[pair], document = rest, stops.document(rest)
        self._books.put_guard(GuardRecord(name=_REST, scope=pair, document=document, event_ns=at_ns))


@lru_cache(maxsize=256)  # what most pairs share at each bar
def _outlook(*values: Any) -> Outlook:
    return Outlook(**dict(zip(Outlook.__slots__, values, strict=True)))


def _known(books: Books, name: str) -> list[tuple[str, Mapping[str, Any]]]:
    """What the books remember under a name, by sector or pair; an empty document stands for nothing."""
    return [(scope, found) for (kind, scope), found in sorted(books.guards.items()) if kind == name and found]
