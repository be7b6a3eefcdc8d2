"""A version decides its recorded span again: the same, to the bit, as long as nothing that decides has changed."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from model_cases import DAY_NS, bundle_of, market, pair_model
from tandem.domain.errors import BadRecord
from tandem.domain.market import SessionGrid
from tandem.flow.decision_digest import decode, encode, recording, replay
from tandem.quant.bundle import Bundle, Thresholds
from tandem.quant.history import fold
from tandem.quant.network import Outputs, Windows, neutral
from tandem.quant.panel import Panel
from tandem.quant.recorded_span import RecordedSpan, record_span

PAIRS = (
    replace(pair_model("AAA", "BBB", beta=0.7), mu=1.0, spread_sd=0.02),
    replace(pair_model("BBB", "CCC", beta=1.0), mu=0.0, spread_sd=0.3),
)
EMPTY = {"format": 1, "decided": {"digest": "d", "decisions": 1, "log_variance": {}}}


def grid_of(panel: Panel) -> SessionGrid:
    """One session for each bar."""
    return SessionGrid(open_ns=panel.close_ns - DAY_NS // 2, close_ns=panel.close_ns.copy(), bar_ns=DAY_NS)


def cases(bars: int = 300, *, span: int = 100) -> tuple[Bundle, Panel, RecordedSpan]:
    """A bundle whose training ends with the panel, and its span."""
    panel = market(bars)
    bundle = bundle_of(*PAIRS, trained_to_ns=int(panel.close_ns[-1]))
    made = record_span(bundle, panel, grid_of(panel), bars=span)
    assert made is not None
    return bundle, panel, made


def test_the_same_version_decides_the_same_again_also_from_a_file() -> None:
    """What the gate relies on; the span has bars in which something is decided."""
    bundle, _, span = cases()
    made = recording(bundle, neutral, span)
    again = decode(encode(made))
    assert replay(bundle, neutral, span) == made.decided == again.decided == replay(bundle, neutral, again.span)
    assert encode(again) == encode(made)
    assert made.decided.decisions == 2 * 100


def test_the_replay_serves_what_training_saw() -> None:
    """From the recorded start the served variances are those of the trainer's own fold over the whole panel."""
    bundle, panel, span = cases()
    decided = replay(bundle, neutral, span)
    for history in fold(panel, bundle.pairs):
        expected = float(np.mean(np.log(history.garch_variance[-100:])))
        assert decided.log_variance[history.pair.pair] == pytest.approx(expected, abs=1e-12)


def test_bars_without_trades_are_part_of_the_span() -> None:
    """A symbol that did not trade in a bar has no price there; its pairs are not decided, and the file keeps that."""
    bundle, panel, _ = cases()
    close = panel.close.copy()
    close[250:260, 2] = np.nan
    gappy = replace(panel, close=close)
    span = record_span(bundle, gappy, grid_of(gappy), bars=100)
    assert span is not None
    made = recording(bundle, neutral, span)
    assert made.decided.decisions == 2 * 100 - 10
    assert replay(bundle, neutral, decode(encode(made)).span) == made.decided


def optimist(windows: Windows) -> Outputs:
    """A network that always believes in a reversion, where the neutral one of this bundle never does."""
    return np.full((len(windows), 2), (0.0, 5.0), dtype=np.float32)


@pytest.mark.parametrize(
    ("changed", "network"),
    [
        (lambda bundle: bundle, optimist),
        (lambda bundle: replace(bundle, thresholds=Thresholds(entry_z=1.0)), neutral),
        (lambda bundle: replace(bundle, pairs=(replace(PAIRS[0], spread_sd=0.01), PAIRS[1])), neutral),
    ],
    ids=["network", "thresholds", "scale of z"],
)
def test_whatever_changes_a_decision_changes_the_digest(changed, network) -> None:  # type: ignore[no-untyped-def]  # a table's columns
    """Skew between training and serving shows before anybody acts on it."""
    bundle, _, span = cases()
    assert replay(changed(bundle), network, span).digest != replay(bundle, neutral, span).digest


def test_numbers_that_move_without_changing_a_decision_show_in_the_variance() -> None:
    """The digest is of decisions, so the mean log variance is looked at beside it."""
    bundle, _, span = cases()
    quieter = replace(PAIRS[0], volatility=replace(PAIRS[0].volatility, omega=PAIRS[0].volatility.omega * 1.01))
    before, now = (replay(b, neutral, span).log_variance[PAIRS[0].pair] for b in (bundle, replace(bundle, pairs=(quieter, PAIRS[1]))))
    assert 1e-4 < abs(now - before) < 0.02


def test_a_span_is_shorter_where_a_pair_has_few_bars_and_none_where_it_has_too_few() -> None:
    """Each pair needs the whole window of its network before the first bar of the span."""
    panel = market(60)
    bundle = bundle_of(*PAIRS, trained_to_ns=int(panel.close_ns[-1]))
    short = record_span(bundle, panel, grid_of(panel), bars=500)
    assert short is not None
    assert 0 < len(short.close_ns) <= 60 - bundle.sequence - 1
    tiny = panel.before(bundle.sequence + 1)
    assert record_span(bundle, tiny, grid_of(tiny)) is None


def test_another_models_span_is_refused() -> None:
    """Its starts are of other pairs."""
    bundle, _, span = cases()
    with pytest.raises(BadRecord, match=r"span_foreign: the span is of AAA-BBB, BBB-CCC, the bundle of AAA-BBB$"):
        replay(replace(bundle, pairs=PAIRS[:1]), neutral, span)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"not gzip", "recording_malformed"),
        (gzip.compress(b"[]"), "recording_malformed"),
        (gzip.compress(b"{}"), "recording_format"),
        (gzip.compress(json.dumps(EMPTY).encode()), "recording_malformed"),
        (gzip.compress(json.dumps(EMPTY | {"span": {}}).encode()), "span_malformed"),
    ],
)
def test_a_file_that_is_not_a_recording_is_refused(data: bytes, reason: str) -> None:
    """Outside data, named by what is wrong with it."""
    with pytest.raises(BadRecord) as caught:
        decode(data)
    assert caught.value.reason == reason
