"""Where the time between a forecast and its order goes: notes the moments of each bar within the portfolio. Used by order_latency.py."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tandem.adapters.alpaca_broker import AlpacaBroker
from tandem.adapters.postgres_ledger import PortfolioStore
from tandem.domain.forecasts import ForecastBatch
from tandem.domain.trading import Order
from tandem.flow.barrier import Decidable
from tandem.flow.journal import Changes
from tandem.portfolio import feeds
from tandem.portfolio.desk import Desk
from tandem.ports import OrderReport

_MOMENTS = ("published", "polled", "read", "taken", "decided", "durable", "submitting", "posted")
_SLOWEST = 6
_NAMES = ("through Kafka", "reading the record", "to the decision thread", "deciding", "making durable", "to the request", "the request")


class Moments:
    """Wall time of the first of each kind, by the bar's close."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns, self.bars = now_ns, dict[int, dict[str, int]]()

    def note(self, close_ns: int, moment: str, at_ns: int | None = None) -> None:
        """Unless there was one before."""
        self.bars.setdefault(close_ns, {}).setdefault(moment, at_ns or self._now_ns())

    def follow(self) -> None:
        """Note from now on what happens in this process; costs some microseconds a bar."""
        decode, trade, commit, submit = feeds.decode_forecasts, Desk.trade, PortfolioStore.commit, AlpacaBroker.submit

        def noted_decode(data: bytes) -> ForecastBatch:
            began_ns = self._now_ns()
            batch = decode(data)
            self.note(batch.bar_close_ns, "polled", began_ns)
            self.note(batch.bar_close_ns, "read")
            return batch

        def noted_trade(desk: Desk, bar: Decidable, published_ns: int) -> None:
            self.note(bar.bar_close_ns, "taken")
            trade(desk, bar, published_ns)

        def noted_commit(store: PortfolioStore, changes: Changes) -> None:
            close_ns = changes.intents[0].bar_close_ns if changes.intents else 0
            self.note(close_ns, "decided")
            commit(store, changes)
            self.note(close_ns, "durable")

        def noted_submit(broker: AlpacaBroker, order: Order) -> OrderReport:
            self.note(order.decided_ns, "submitting")
            return submit(broker, order)

        feeds.decode_forecasts = noted_decode
        Desk.trade = noted_trade  # type: ignore[assignment, method-assign]
        PortfolioStore.commit = noted_commit  # type: ignore[assignment, method-assign]
        AlpacaBroker.submit = noted_submit  # type: ignore[assignment, method-assign]

    def write(self, path: Path) -> None:
        """For the parent."""
        path.write_text(json.dumps(self.bars))


def print_parts(path: Path, published: dict[int, int], first_post: dict[int, int]) -> None:
    """The parts' medians, of the bars in `first_post`."""
    found: dict[str, Any] = json.loads(path.read_text())
    rows = []
    for close_ns, posted_ns in first_post.items():
        moments = found.get(str(close_ns), {}) | {"published": published[close_ns], "posted": posted_ns}
        if all(name in moments for name in _MOMENTS):
            rows.append([moments[name] / 1e6 for name in _MOMENTS])
    parts = np.diff(np.array(rows), axis=1)
    print(
        "  of the first POST of a bar, medians: "
        + ", ".join(f"{n} {ms:.2f}" for n, ms in zip(_NAMES, np.median(parts, axis=0), strict=True))
    )
    print("    90th percentiles: " + ", ".join(f"{n} {ms:.2f}" for n, ms in zip(_NAMES, np.quantile(parts, 0.9, axis=0), strict=True)))
    totals = parts.sum(axis=1)
    print("    the slowest, in the same order: ")
    for row in np.argsort(totals)[::-1][:_SLOWEST]:
        print(f"      {totals[row]:6.2f} = " + " + ".join(f"{ms:.2f}" for ms in parts[row]))
