"""What a version decides on its recorded span, as one digest: the replay gate's comparison of training and serving.

The span's bars go through the same step that serves (flow/sector.py), as one trade for each bar and symbol, and the same rules that trade
(flow/signals.py). The digest is over decisions, not over numbers: another processor may sum in another last digit, and that must not fail a
sound model. How far the numbers themselves have moved is measured beside it, as the mean log variance of each pair.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tandem.domain.control import PairSpec
from tandem.domain.errors import BadRecord
from tandem.domain.forecasts import Forecast, ForecastBatch, ModelRef
from tandem.domain.ids import PairId
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Heartbeat, Source, TickFrame
from tandem.domain.trading import Action, TradingMode
from tandem.flow.sector import SectorModel, initial_sector, step
from tandem.flow.signals import Case, Held, Signal, decide
from tandem.quant.bundle import Bundle, Thresholds
from tandem.quant.network import Network
from tandem.quant.recorded_span import RecordedSpan, span_document, span_of

FORMAT = 1
FILE = "recording.json.gz"
_REPLAY = "recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What came out of a replay. digest: sha256 over every decision in order; log_variance: mean by pair."""

    digest: str
    decisions: int
    log_variance: Mapping[PairId, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """A span, and what the trainer's own replay of it decided."""

    span: RecordedSpan
    decided: Decided


@dataclass(kw_only=True)
class _Book:
    """The positions of the replay: by digest of the span's model, all counted from one origin."""

    thresholds: Thresholds
    held: dict[PairId, Held] = field(default_factory=dict)

    def decide(self, forecast: Forecast, bundle: Bundle) -> Signal:
        """The signal of the declared rules on this forecast, taken as carried out at once."""
        spec = PairSpec(
            pair=forecast.pair,
            sector=bundle.sector,
            leg_a=forecast.leg_a,
            leg_b=forecast.leg_b,
            entry_z=self.thresholds.entry_z,
            exit_z=self.thresholds.exit_z,
            stop_z=2 * self.thresholds.entry_z,
            probability_min=self.thresholds.probability_min,
        )
        held = self.held.get(forecast.pair)
        signal = decide(Case(forecast=forecast, spec=spec, held=held, mode=TradingMode.ACTIVE, fresh=True))
        if signal.action is Action.CLOSE:
            del self.held[forecast.pair]
        elif signal.action is not None:
            direction = 1 if signal.action is Action.OPEN_LONG else -1
            self.held[forecast.pair] = Held(
                direction=direction, opened_bar_index=forecast.bar_index, half_life_bars=forecast.half_life_bars, digest=bundle.digest
            )
        return signal


def recording(bundle: Bundle, network: Network, span: RecordedSpan) -> Recording:
    """The span with what this code decides on it now."""
    return Recording(span=span, decided=replay(bundle, network, span))


def replay(bundle: Bundle, network: Network, span: RecordedSpan) -> Decided:
    """Step a version through its span. Raises BadRecord when the span is another model's."""
    begun = span.begun(bundle)
    ref = ModelRef(name=_REPLAY, version="0", digest=bundle.digest)
    model = SectorModel(bundle=begun, ref=ref, network=network, grid=span.grid)
    book, digest, decisions = _Book(thresholds=bundle.thresholds), hashlib.sha256(), 0
    logs: dict[PairId, list[float]] = {pair.pair: [] for pair in bundle.pairs}
    for batch in _batches(model, span):
        for forecast in batch.forecasts:
            signal = book.decide(forecast, begun)
            # Which side of its threshold each number falls also counts where no rule asks for it: most bars are far from any entry.
            sides = forecast.reversion_probability >= bundle.thresholds.probability_min, forecast.variance > forecast.garch_variance
            line = f"{batch.bar_close_ns} {forecast.pair} {forecast.bar_index} {signal.action or '-'} {signal.reason} {sides}\n"
            digest.update(line.encode())
            decisions += 1
            logs[forecast.pair].append(float(np.log(forecast.variance)))
    means = {pair: float(np.mean(values)) for pair, values in logs.items() if values}
    return Decided(digest=digest.hexdigest(), decisions=decisions, log_variance=means)


def _batches(model: SectorModel, span: RecordedSpan) -> Iterator[ForecastBatch]:
    state = initial_sector(model, replay_id=_REPLAY)
    sector = model.bundle.sector
    for close_ns, row in zip(span.close_ns.tolist(), span.close, strict=True):
        traded = np.flatnonzero(~np.isnan(row))
        ticks = np.zeros(len(traded), dtype=TICK_DTYPE)
        ticks["event_ns"], ticks["price"], ticks["size"] = close_ns - 1, row[traded], 1
        ticks["symbol"], ticks["kind"] = traded, KIND_TRADE
        frame = TickFrame(sector=sector, source=Source.RECYCLED, replay_id=_REPLAY, symbols=span.symbols, ticks=ticks)
        beat = Heartbeat(sector=sector, source=Source.RECYCLED, replay_id=_REPLAY, watermark_ns=close_ns)
        for event in (frame, beat):
            state, batches = step(model, state, event)
            yield from batches


def encode(made: Recording) -> bytes:
    """As a file; the same recording always gives the same bytes."""
    document = {"format": FORMAT, "span": span_document(made.span), "decided": asdict(made.decided)}
    return gzip.compress(json.dumps(document, sort_keys=True, allow_nan=False).encode(), mtime=0)


def decode(data: bytes) -> Recording:
    """Back. Raises BadRecord."""
    try:
        document: dict[str, Any] = json.loads(gzip.decompress(data))
        if document.get("format") != FORMAT:
            raise BadRecord("recording_format", f"format {document.get('format')!r}, expected {FORMAT}")
        decided = document["decided"]
        means = {PairId(pair): float(mean) for pair, mean in decided["log_variance"].items()}
        found = Decided(digest=str(decided["digest"]), decisions=int(decided["decisions"]), log_variance=means)
        return Recording(span=span_of(document["span"]), decided=found)
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord("recording_malformed", f"{type(error).__name__}: {error}") from error
