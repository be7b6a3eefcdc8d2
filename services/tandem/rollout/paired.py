"""The losses of two versions of a sector's model at the same bars of the same pairs: what the gates compare. Values only.

Does not read them (adapters/score_evidence.py) nor judge them (promotion.py).
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import PairId
from tandem.quant.paired_qlike import levels, small_moves

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Times = NDArray[np.int64]
_ROUNDING = 1e-12  # of a loss, or of 1 where it is smaller
_TABLES = ("stable", "candidate", "log_variance_ratio", "realised_stable", "realised_candidate")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedLosses:
    """One row for each bar that has closed, oldest first, one column for each pair that both versions hold.

    stable, candidate: (n, p) QLIKE, lower is better; NaN where that version has no scored forecast there.
    realised_stable, realised_candidate: (n, p) the squared innovations that they were scored on, each of that version's own spread; None
    where both were scored on the same ones.
    log_variance_ratio: (n, p) log of the candidate's variance over the stable version's; NaN where either has none.
    A pair that one of the versions does not hold at all has no column: it cannot be compared.
    market_ns: event time that the stream which plays now has reached; 0 where that is not known.
    """

    close_ns: Times  # (n,) of the bar that was forecast from, strictly rising
    sessions: Times  # (n,) number of the trading day it belongs to, never falling
    pairs: tuple[PairId, ...]
    stable: Matrix
    candidate: Matrix
    log_variance_ratio: Matrix
    realised_stable: Matrix | None = None
    realised_candidate: Matrix | None = None
    market_ns: int = 0

    def __post_init__(self) -> None:
        shape = (len(self.close_ns), len(self.pairs))
        for name in _TABLES:
            found = getattr(self, name)
            if found is None:
                continue
            if found.shape != shape or found.dtype != np.float64:
                raise ValueError(f"{name}: {found.dtype} of shape {found.shape}, must be float64 of shape {shape} (bars, pairs)")
            if np.isinf(found).any():
                raise ValueError(f"{name}: holds infinite values, must be finite or NaN where there is none")
        if self.sessions.shape != shape[:1]:
            raise ValueError(f"{len(self.sessions)} sessions for {shape[0]} bars, must be one for each")
        if np.any(np.diff(self.close_ns) <= 0) or np.any(np.diff(self.sessions) < 0):
            raise ValueError("close_ns must rise strictly and sessions never fall")
        if len(set(self.pairs)) != len(self.pairs):
            raise ValueError(f"pairs {self.pairs}: each must stand once")
        if (self.realised_stable is None) != (self.realised_candidate is None):
            raise ValueError("realised_stable and realised_candidate: must be given both or neither")

    @property
    def differences(self) -> Matrix:
        """(n, p) the candidate's QLIKE minus the stable version's: below 0 is better. NaN where one is missing.

        Small moves count as in quant/paired_qlike.py where the two were scored on different spreads.
        """
        found, size = self.candidate - self.stable, np.maximum(np.abs(self.candidate), np.abs(self.stable))
        if self.realised_stable is not None and self.realised_candidate is not None:
            stable, candidate = self._realised_pairwise()
            moves = small_moves(candidate), small_moves(stable)
            found, size = found - moves[0] + moves[1], np.maximum(size, np.abs(moves).max(axis=0))
        # Two versions that say the same are not told apart by rounding.
        found = np.where(np.abs(found) < _ROUNDING * np.maximum(size, 1.0), 0.0, found)
        return np.where(np.isfinite(self.log_variance_ratio), found, np.nan)

    @property
    def relative_ratios(self) -> Matrix:
        """(n, p) log_variance_ratio with each variance in units of its own spread's squared innovations so far: the two's disagreement."""
        if self.realised_stable is None or self.realised_candidate is None:
            return self.log_variance_ratio
        stable, candidate = self._realised_pairwise()
        with np.errstate(divide="ignore", invalid="ignore"):  # a spread that has never moved has no scale: the ratio stays as it is
            scale = np.log(levels(candidate)) - np.log(levels(stable))
        return self.log_variance_ratio - np.where(np.isfinite(scale), scale, 0.0)

    def _realised_pairwise(self) -> tuple[Matrix, Matrix]:
        """Both, where both are there."""
        assert self.realised_stable is not None
        assert self.realised_candidate is not None
        both = np.isfinite(self.realised_stable) & np.isfinite(self.realised_candidate)
        return np.where(both, self.realised_stable, np.nan), np.where(both, self.realised_candidate, np.nan)

    @property
    def bars(self) -> int:
        """Bars at which at least one pair can be compared."""
        return int(np.count_nonzero(np.isfinite(self.differences).any(axis=1)))

    @property
    def newest_ns(self) -> int:
        """Close of the newest bar at which at least one pair can be compared; 0 without any."""
        paired = self.close_ns[np.isfinite(self.differences).any(axis=1)]
        return int(paired[-1]) if len(paired) else 0

    def after(self, close_ns: int) -> Self:
        """The bars that close after this time."""
        kept = self.close_ns > close_ns
        tables: dict[str, Any] = {name: None if (table := getattr(self, name)) is None else table[kept] for name in _TABLES}
        return type(self)(close_ns=self.close_ns[kept], sessions=self.sessions[kept], pairs=self.pairs, **tables)


def no_losses(pairs: tuple[PairId, ...] = ()) -> PairedLosses:
    """Nothing compared yet."""
    none, times = np.empty((0, len(pairs))), np.empty(0, dtype=np.int64)
    return PairedLosses(close_ns=times, sessions=times, pairs=pairs, stable=none, candidate=none, log_variance_ratio=none)
