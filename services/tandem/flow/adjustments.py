"""Bars in shares of now: what splits and dividends since then make of their prices and volumes, as Alpaca's `adjustment` does it.

A split divides the prices before it and multiplies the volumes; a dividend takes its share of the last close before it off all earlier
prices. Statistics, hence floats: money is booked elsewhere. Pure; called by the recycler's data REST.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tandem.flow.trade_bars import BarTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """One split or dividend of a symbol: bars that end by ex_ns have other prices, and after a split other volumes."""

    ex_ns: int
    price_factor: float
    volume_factor: float = 1.0

    def __post_init__(self) -> None:
        if not (self.price_factor > 0 and self.volume_factor > 0):
            raise ValueError(f"price factor {self.price_factor}, volume factor {self.volume_factor}: both must be above 0")


def split_adjustment(ex_ns: int, *, new_shares: int, old_shares: int) -> Adjustment:
    """4 for 1: prices before are a quarter, volumes four times."""
    return Adjustment(ex_ns=ex_ns, price_factor=old_shares / new_shares, volume_factor=new_shares / old_shares)


def dividend_adjustment(ex_ns: int, *, usd_per_share: float, close_before: float) -> Adjustment | None:
    """1 - dividend / last close before the ex-date; None for a dividend that is no less than the price, which no factor can say."""
    return Adjustment(ex_ns=ex_ns, price_factor=1 - usd_per_share / close_before) if usd_per_share < close_before else None


def adjusted(table: BarTable, adjustments: Sequence[Adjustment]) -> BarTable:
    """The bars of one symbol with every adjustment that comes after them."""
    if not adjustments or len(table) == 0:
        return table
    price, volume = np.ones(len(table)), np.ones(len(table))
    for one in adjustments:
        is_before = (table.start_ns < one.ex_ns) & (table.end_ns <= one.ex_ns)  # a daily bar starts before the open at which it is ex
        price[is_before] *= one.price_factor
        volume[is_before] *= one.volume_factor
    prices = {name: getattr(table, name) * price for name in ("open", "high", "low", "close", "vwap")}
    return replace(table, **prices, volume=np.round(table.volume * volume).astype(np.int64))
