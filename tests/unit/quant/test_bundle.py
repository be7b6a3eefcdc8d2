"""The bundle's files: round trip, digest, and what is refused."""

import json
from dataclasses import replace

import pytest

from model_cases import bundle_of, pair_model
from tandem.domain.errors import BadRecord
from tandem.quant.bundle import DOCUMENT, GRAPH, Calibration, PairTest, Rejection, decode, encode, model_name


def test_a_bundle_survives_encoding_exactly() -> None:
    """Every number, name and byte comes back, float64 and float32 alike."""
    bundle = replace(
        bundle_of(pair_model(), pair_model("XOM", "CVX", slots=1)),
        tests=(
            PairTest(
                pair=pair_model().pair,
                p_value=0.1 + 0.2,
                p_value_reverse=1e-300,
                q_value=0.3,
                half_life_bars=None,
                declared=True,
                passed=False,
            ),
        ),
        rejections=(Rejection(pair=pair_model().pair, reason="too_few_bars", detail="3 bars"),),
    )
    assert decode(encode(bundle)) == bundle


def test_the_same_bundle_gives_the_same_bytes_and_digest() -> None:
    """Nothing of a clock or of the order of keys is in the files."""
    assert encode(bundle_of()) == encode(bundle_of())
    assert bundle_of().digest == decode(encode(bundle_of())).digest


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: d["pairs"][0].__setitem__("beta", 0.81), id="a hedge ratio"),
        pytest.param(lambda d: d["metrics"].__setitem__("holdout_qlike_garch", 9.0), id="a metric"),
        pytest.param(lambda d: d.__setitem__("trained_to_ns", 5), id="the training span"),
    ],
)
def test_a_changed_document_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    """The digest covers every field of the document."""
    files = encode(bundle_of())
    document = json.loads(files[DOCUMENT])
    change(document)
    with pytest.raises(BadRecord, match="bundle_digest"):
        decode(files | {DOCUMENT: json.dumps(document).encode()})


def test_a_changed_graph_is_refused() -> None:
    """The digest covers the ONNX bytes, too."""
    with pytest.raises(BadRecord, match="bundle_digest"):
        decode(encode(bundle_of()) | {GRAPH: b"other graph"})


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "bundle_incomplete"),
        ({DOCUMENT: b"{}", GRAPH: b""}, "bundle_malformed"),
        ({DOCUMENT: b"no json", GRAPH: b""}, "bundle_malformed"),
        ({DOCUMENT: b'{"digest": "", "format": 99}', GRAPH: b""}, "bundle_format"),
    ],
)
def test_what_is_no_bundle_is_refused_by_name(files: dict[str, bytes], reason: str) -> None:
    """Missing parts, other formats and plain rubbish each have their own reason."""
    with pytest.raises(BadRecord) as caught:
        decode(files)
    assert caught.value.reason == reason


def test_numbers_that_cannot_be_are_refused() -> None:
    """An invalid record cannot exist: integrated variance, wrong legs, a negative slope, a pair twice."""
    with pytest.raises(ValueError, match=r"persistence 1\.0"):
        replace(pair_model().volatility, alpha=0.5, beta=0.5)
    with pytest.raises(ValueError, match="legs"):
        replace(pair_model(), leg_a=pair_model("XOM", "CVX").leg_a)
    with pytest.raises(ValueError, match="slope"):
        Calibration(shrink=1, slope=-1, intercept=0)
    with pytest.raises(ValueError, match="each once"):
        bundle_of(pair_model(), pair_model())


def test_the_registered_name_carries_the_generation_of_the_format() -> None:
    """The name is part of the platform's contract."""
    assert model_name("energy") == "pairs_trading_gru_garch_energy_v1"
