"""What a running forecaster says of itself over HTTP (/state), through httpx.

Read by who carries rollouts out, never on the way to an order.
"""

import math
from dataclasses import dataclass
from typing import Any

import httpx

from tandem.domain.errors import Transient
from tandem.domain.forecasts import ModelRef
from tandem.rollout.promotion import UNKNOWN, Health

_TIMEOUT_S = 2.0  # it answers from memory; one that does not is not waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecasterReport:
    """The version that it runs, the pairs of its bundle, why it is not ready (None: it is), and what it counts of itself."""

    model: ModelRef
    pairs: tuple[str, ...]
    not_ready: str | None
    health: Health


def read_report(url: str) -> ForecasterReport:
    """The report of the forecaster at http://host:port. Raises Transient when there is none or it cannot be read."""
    try:
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = client.post(f"{url}/state")
            answer.raise_for_status()
            raw = answer.json()
        return ForecasterReport(
            model=ModelRef(**{key: str(raw["model"][key]) for key in ("name", "version", "digest")}),
            pairs=tuple(map(str, raw["pairs"])),
            not_ready=raw.get("not_ready"),
            health=_health(raw.get("health") or {}),
        )
    except httpx.HTTPError as error:
        raise Transient(f"forecaster at {url}: {error or type(error).__name__}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Transient(f"forecaster at {url}: its state cannot be read: {error!r}") from error


def _health(raw: dict[str, Any]) -> Health:
    """What is missing or not a number was not counted."""
    if not raw:
        return UNKNOWN
    latency_s = raw.get("latency_p99_s")
    return Health(
        errors=_count(raw.get("errors")),
        forecasts=_count(raw.get("forecasts")),
        withheld=_count(raw.get("withheld")),
        latency_p99_s=float(latency_s) if isinstance(latency_s, int | float) and math.isfinite(latency_s) else None,
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
