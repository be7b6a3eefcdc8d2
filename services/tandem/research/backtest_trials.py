"""The record of what has been tried: one line for each different setting that was ever played on the way to a result.

A Sharpe ratio is worth as much as the number of trials behind it allows. The file is the user's; running the same setting again replaces
its line, so that the same inputs give the same report.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tandem.domain.errors import BadRecord
from tandem.research.backtest_statistics import Trials


def declared(count: int) -> Trials:
    """A number that somebody states."""
    return Trials(count=count, variance=None, source="declared by whoever ran it; their Sharpe ratios are not known")


def recorded(file: Path, key: str, sharpe: float | None, *, at_least: int) -> Trials:
    """The trials in a JSON-lines file with this one, which is written into it. sharpe: daily; None counts as 0.

    Raises BadRecord for a file that is not such a record.
    """
    rows = _read(file)
    rows[key] = 0.0 if sharpe is None else sharpe
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps({"key": name, "daily_sharpe": value}) + "\n" for name, value in sorted(rows.items())))
    values = np.array(list(rows.values()))
    variance = float(values.var(ddof=1)) if len(values) > 1 else None
    return Trials(count=max(len(rows), at_least), variance=variance, source=f"{len(rows)} in {file.name}, at least {at_least} declared")


def _read(file: Path) -> dict[str, float]:
    if not file.exists():
        return {}
    found: dict[str, float] = {}
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        try:
            row: dict[str, Any] = json.loads(line)
            found[str(row["key"])] = float(row["daily_sharpe"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadRecord("trials_malformed", f"{file}, line {number}: {error!r}") from error
    return found
