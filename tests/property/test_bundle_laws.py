"""The law of the bundle's files: whatever can be in a bundle comes back from them, and a digest names its content."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from model_cases import bundle_of, pair_model
from tandem.domain.ids import PairId, Symbol
from tandem.quant.bundle import Bundle, Fold, PairTest, RejectedSymbol, Rejection, Thresholds, VolatilityCandidate, decode, encode
from tandem.quant.volatility import Kind, Shocks

numbers = st.floats(allow_nan=False, allow_infinity=False)
shares = st.floats(0, 1)
texts = st.text(max_size=30)
maybe = st.none() | numbers


@st.composite
def candidates(draw: st.DrawFn) -> VolatilityCandidate:
    """Fitted or not."""
    fitted = draw(st.booleans())
    return VolatilityCandidate(
        kind=draw(st.sampled_from(Kind)),
        shocks=draw(st.sampled_from(Shocks)),
        log_likelihood=draw(numbers) if fitted else None,
        bic=draw(numbers) if fitted else None,
        rejected="" if fitted else "not_converged",
    )


@st.composite
def folds(draw: st.DrawFn) -> Fold:
    """In order of time."""
    first, gap, length = draw(st.integers(0, 2**60)), draw(st.integers(1, 2**40)), draw(st.integers(0, 2**40))
    return Fold(
        trained_to_ns=first,
        tested_from_ns=first + gap,
        tested_to_ns=first + gap + length,
        pairs=tuple(draw(st.lists(st.just(PairId("KO-PEP")), max_size=2))),
        windows=draw(st.integers(0, 10**6)),
        skipped=draw(texts),
    )


tests = st.builds(
    PairTest,
    pair=st.just(PairId("KO-PEP")),
    p_value=shares,
    p_value_reverse=shares,
    q_value=shares,
    half_life_bars=maybe,
    declared=st.booleans(),
    passed=st.booleans(),
    correlation=maybe,
    johansen_trace=maybe,
    johansen_critical=maybe,
    hurst=maybe,
)


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    """What a training may write."""
    trials = draw(st.integers(1, 1000))
    pair = replace(
        pair_model(),
        mu=draw(numbers),
        intercept=draw(numbers),
        phi=draw(st.floats(-0.999, 0.999)),
        candidates=tuple(draw(st.lists(candidates(), max_size=3))),
    )
    return replace(
        bundle_of(pair, onnx=draw(st.binary(max_size=40))),
        tests=tuple(draw(st.lists(tests, max_size=3))),
        folds=tuple(draw(st.lists(folds(), max_size=3))),
        rejections=tuple(draw(st.lists(st.builds(Rejection, pair=st.just(pair.pair), reason=texts, detail=texts), max_size=2))),
        rejected_symbols=tuple(
            draw(st.lists(st.builds(RejectedSymbol, symbol=st.just(Symbol("KO")), reason=texts, detail=texts), max_size=2))
        ),
        metrics=draw(st.dictionaries(texts, numbers, max_size=4)),
        thresholds=draw(st.sampled_from([Thresholds(), Thresholds(entry_z=1.25, exit_z=0.0, probability_min=0.0)])),
        seed=draw(st.integers(0, 2**63 - 1)),
        cell=draw(st.sampled_from(["correction", "integrated"])),
        members=draw(st.integers(1, 50)),
        trial=draw(st.integers(1, trials)),
        trials=trials,
    )


@given(bundles())
@settings(max_examples=150, deadline=None)
def test_a_bundle_comes_back_from_its_files(bundle: Bundle) -> None:
    """Every field, to the last bit; and with it the digest."""
    back = decode(encode(bundle))
    assert back == bundle
    assert back.digest == bundle.digest


@given(bundles(), bundles())
@settings(max_examples=100, deadline=None)
def test_equal_digests_are_equal_bundles(one: Bundle, other: Bundle) -> None:
    """And the other way round."""
    assert (one.digest == other.digest) == (encode(one) == encode(other))
