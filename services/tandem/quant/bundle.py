"""The model bundle: all that one MLflow version is. A JSON document and an ONNX graph, held together by a digest of both.

The digest depends on content only: no clock, commit or registry version is inside, so that two trainings on the same data with the same
settings and seed give the same digest. What has a default here was added later; a bundle says so by leaving it at that. Written by the
trainer, read by forecasters. Knows no file, server or library of either.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tandem.domain.errors import BadRecord
from tandem.domain.ids import PairId, SectorId, Symbol, pair_id, sector_id, symbol
from tandem.quant.volatility import Kind, Shocks, Volatility

FORMAT = 1  # generation of this format; part of the registered model's name
DOCUMENT = "bundle.json"
GRAPH = "gru.onnx"


def model_name(sector: str) -> str:
    """The registered model's name of a sector."""
    return f"pairs_trading_gru_garch_{sector}_v{FORMAT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairStart:
    """The filter's state after the last training bar: where serving goes on."""

    spread: float
    variance: float  # of the next bar, at unit scale and before its slot's profile
    missed: int  # bars of the grid since the pair's last one
    levels: tuple[float, float]  # fast and slow mean of squared innovations, unit scale
    leg_logs: tuple[float, float]  # log prices of legs a and b at the pair's last bar
    leg_levels: tuple[float, float]  # mean of the legs' squared returns, unit scale
    bars: int  # training bars of this pair
    window: tuple[tuple[float, ...], ...]  # (sequence, features), scaled, oldest first; exact float32 values


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """What screening found for one pair, kept whether it passed or not. p and q are of Engle-Granger, both directions."""

    pair: PairId
    p_value: float  # leg a on leg b
    p_value_reverse: float
    q_value: float  # of the better direction, Benjamini-Hochberg over all tests of the sector
    half_life_bars: float | None  # None when the spread shows no reversion
    declared: bool
    passed: bool
    correlation: float | None = None  # of one-bar log returns
    johansen_trace: float | None = None  # of no cointegration; a constant, one lagged difference
    johansen_critical: float | None = None  # its 5 % critical value
    hurst: float | None = None  # of the spread; 0.5 is a random walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A pair that could not be fitted, and why."""

    pair: PairId
    reason: str  # short code
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedSymbol:
    """A symbol whose prices were not fit to be used, and why: none of its pairs was tested."""

    symbol: Symbol
    reason: str  # short code
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatilityCandidate:
    """One variance model that was tried on a pair. The one with the least BIC among those without a `rejected` reason was taken.

    Where all have one, the best of those that were fitted at all: their persistence stands at its limit.
    """

    kind: Kind
    shocks: Shocks
    log_likelihood: float | None  # of the innovations at unit scale; None where there is no fit
    bic: float | None
    rejected: str = ""  # short code: not_converged, not_stationary ...

    def __post_init__(self) -> None:
        if (self.log_likelihood is None) != (self.bic is None) or (self.bic is None and not self.rejected):
            raise ValueError(f"a candidate has its likelihood and BIC, or the reason why there are none; found {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One part of the walk-forward: a model fitted on the bars before `tested_from_ns` was scored on those from there on."""

    trained_to_ns: int  # close of the last bar that this fold's model saw
    tested_from_ns: int
    tested_to_ns: int  # close of the last bar of the test part
    pairs: tuple[PairId, ...]  # chosen on the bars before the test part
    windows: int  # that were scored
    skipped: str = ""  # why there is no score, where there is none

    def __post_init__(self) -> None:
        if not self.trained_to_ns < self.tested_from_ns <= self.tested_to_ns:
            raise ValueError(f"a fold is fitted wholly before its test part; found {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The rule whose profit the metrics state: in from |z| = entry_z where a reversion is at least so probable, out below exit_z."""

    entry_z: float = 2.0
    exit_z: float = 0.5
    probability_min: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.exit_z < self.entry_z or not 0 <= self.probability_min < 1:
            raise ValueError(f"0 <= exit_z < entry_z and probability_min in [0, 1); found {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairModel:
    """One pair's fitted numbers. spread = log a - beta log b - mu; its mean is AR(1); all from the training span only."""

    pair: PairId
    leg_a: Symbol
    leg_b: Symbol
    beta: float
    mu: float
    spread_sd: float
    intercept: float  # AR(1): E[next] = intercept + phi * spread
    phi: float
    half_life_bars: float
    volatility: Volatility
    leg_scales: tuple[float, float]  # standard deviation of the one-bar log returns of legs a and b
    profile: tuple[float, ...]  # variance factor per slot of the session; (1.0,) for daily bars
    start: PairStart
    candidates: tuple[VolatilityCandidate, ...] = ()  # every variance model that was tried, the best first

    def __post_init__(self) -> None:
        if pair_id(self.leg_a, self.leg_b) != self.pair:
            raise ValueError(f"pair {self.pair} has legs {self.leg_a} and {self.leg_b}")
        if not 0 <= abs(self.phi) < 1 or self.spread_sd <= 0 or self.half_life_bars <= 0:
            raise ValueError(f"pair {self.pair}: phi in (-1, 1), spread_sd and half_life_bars above 0; found {self}")
        if min(self.leg_scales) <= 0:
            raise ValueError(f"pair {self.pair}: leg_scales must be above 0; found {self.leg_scales}")
        if not self.profile or min(self.profile) <= 0:
            raise ValueError(f"pair {self.pair}: the profile needs a factor above 0 for each slot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How the network's two numbers become a variance and a probability; fitted on the validation part.

    variance = GARCH variance * exp(shrink * correction); probability = sigmoid(slope * logit + intercept).
    """

    shrink: float
    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not 0 <= self.shrink <= 1 or self.slope < 0:
            raise ValueError(f"shrink in [0, 1] and slope from 0; found {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One sector's model."""

    sector: SectorId
    bar: str
    trained_from_ns: int
    trained_to_ns: int  # close of the last training bar; serving ignores bars up to it
    holdout_from_ns: int  # the scores in `metrics` are of bars from here on, each by a model fitted before it
    data_digest: str  # sha256 of the data file
    seed: int
    horizon_bars: int
    cost_bps: float  # per side and leg: what the reversion label charged
    features: tuple[str, ...]
    feature_mean: tuple[float, ...]
    feature_sd: tuple[float, ...]
    sequence: int
    calibration: Calibration
    pairs: tuple[PairModel, ...]
    tests: tuple[PairTest, ...]
    rejections: tuple[Rejection, ...]
    metrics: dict[str, float]
    settings: dict[str, Any]  # all hyperparameters, plain JSON values
    onnx: bytes
    rejected_symbols: tuple[RejectedSymbol, ...] = ()
    folds: tuple[Fold, ...] = ()  # of the walk-forward that the metrics come from, in order of time
    thresholds: Thresholds = Thresholds()
    cell: str = "correction"  # of the network
    members: int = 1  # networks that `onnx` averages
    trial: int = 1  # which of the configurations tried for this study this one is
    trials: int = 1  # how many were tried: what the deflated Sharpe ratio charges for

    def __post_init__(self) -> None:
        width = len(self.features)
        if not self.pairs or len({p.pair for p in self.pairs}) != len(self.pairs):
            raise ValueError("a bundle holds at least one pair, each once")
        if not len(self.feature_mean) == len(self.feature_sd) == width or min(self.feature_sd) <= 0:
            raise ValueError(f"{width} features need as many means and standard deviations above 0")
        for pair in self.pairs:
            if len(pair.start.window) != self.sequence or any(len(row) != width for row in pair.start.window):
                raise ValueError(f"pair {pair.pair}: the window must be {self.sequence} x {width}")
        if not 1 <= self.trial <= self.trials or self.members < 1:
            raise ValueError(f"trial {self.trial} of {self.trials} with {self.members} members: 1 <= trial <= trials, members from 1")

    @property
    def digest(self) -> str:
        """sha256 over the document and the graph."""
        return _digest(_document(self), self.onnx)


def encode(bundle: Bundle) -> dict[str, bytes]:
    """The bundle as files. The same bundle always gives the same bytes."""
    document = _document(bundle) | {"digest": bundle.digest}
    return {DOCUMENT: json.dumps(document, sort_keys=True, indent=1, allow_nan=False).encode(), GRAPH: bundle.onnx}


def decode(files: Mapping[str, bytes]) -> Bundle:
    """The bundle in these files. Raises BadRecord when one is missing, malformed, of another format, or does not match the digest."""
    if missing := {DOCUMENT, GRAPH} - set(files):
        raise BadRecord("bundle_incomplete", f"missing {', '.join(sorted(missing))}")
    try:
        document = json.loads(files[DOCUMENT])
        stated = document.pop("digest")
        if document.get("format") != FORMAT:
            raise BadRecord("bundle_format", f"format {document.get('format')!r}, expected {FORMAT}")
        if stated != (found := _digest(document, files[GRAPH])):
            raise BadRecord("bundle_digest", f"content has digest {found}, the document states {stated}")
        return _bundle(document, files[GRAPH])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord("bundle_malformed", f"{type(error).__name__}: {error}") from error


def _document(bundle: Bundle) -> dict[str, Any]:
    document = {name: value for name, value in asdict(bundle).items() if name != "onnx"}
    return document | {"format": FORMAT}


def _digest(document: Mapping[str, Any], graph: bytes) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode() + b"\0" + graph).hexdigest()


def _bundle(document: dict[str, Any], graph: bytes) -> Bundle:
    document.pop("format")
    document["sector"] = sector_id(document["sector"])
    for name in ("features", "feature_mean", "feature_sd"):
        document[name] = tuple(document[name])
    document["calibration"] = Calibration(**document["calibration"])
    document["pairs"] = tuple(map(_pair, document["pairs"]))
    document["tests"] = tuple(PairTest(**row) for row in document["tests"])
    document["rejections"] = tuple(Rejection(**row) for row in document["rejections"])
    document["rejected_symbols"] = tuple(RejectedSymbol(**row) for row in document["rejected_symbols"])
    document["folds"] = tuple(Fold(**row | {"pairs": tuple(row["pairs"])}) for row in document["folds"])
    document["thresholds"] = Thresholds(**document["thresholds"])
    return Bundle(**document, onnx=graph)


def pair_start(row: dict[str, Any]) -> PairStart:
    """From its JSON values. Raises KeyError or TypeError for others."""
    pairs = {name: tuple(row[name]) for name in ("levels", "leg_logs", "leg_levels")}
    return PairStart(**row | pairs | {"window": tuple(map(tuple, row["window"]))})


def _pair(row: dict[str, Any]) -> PairModel:
    raw = row["volatility"]
    parts = {
        "leg_a": symbol(row["leg_a"]),
        "leg_b": symbol(row["leg_b"]),
        "volatility": Volatility(**raw | {"kind": Kind(raw["kind"]), "shocks": Shocks(raw["shocks"])}),
        "leg_scales": tuple(row["leg_scales"]),
        "profile": tuple(row["profile"]),
        "candidates": tuple(VolatilityCandidate(**c | {"kind": Kind(c["kind"]), "shocks": Shocks(c["shocks"])}) for c in row["candidates"]),
        "start": pair_start(row["start"]),
    }
    return PairModel(**row | parts)
