"""The labels of Tandem's series: which values each may have, and how many at most.

adapters/series.py names them; docs/reference/metrics.md is made of this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What keeps a label's values few. at_most: of one series in one process, which a test holds."""

    values: str
    at_most: int


LABELS: Mapping[str, Bound] = {
    "service": Bound(values="The six services.", at_most=1),
    "release": Bound(values="The package's version.", at_most=1),
    "sector": Bound(values="Sectors of config/sectors.yaml; the operator has one for each SectorModel.", at_most=64),
    "version": Bound(values="Model versions: a forecaster has its own, a portfolio those that it has acted on.", at_most=64),
    "digest": Bound(values="Twelve characters of the model's digest, one for each version.", at_most=64),
    "topic": Bound(values="The tick topic of each sector, and the forecast topic.", at_most=65),
    "participant": Bound(values="Participants of a lockstep replay; the recycler takes at most 16.", at_most=16),
    "kind": Bound(values="Of the recycler: kinds of wire faults. Of the operator: the four of tandem.trading.", at_most=16),
    "reason": Bound(values="Reasons of domain/errors.py, domain/conditions.py and operator/events.py; no text of a message.", at_most=64),
    "status": Bound(values="Statuses of an order.", at_most=24),
    "code": Bound(values="Alpaca's stream codes or `other`; pre-trade codes; HTTP statuses or `none`.", at_most=64),
    "purpose": Bound(values="open, complete or reduce.", at_most=3),
    "outcome": Bound(values="taken or refused; outcomes of a rollout.", at_most=16),
    "breaker": Bound(values="Breakers of flow/breakers.py.", at_most=16),
    "mode": Bound(values="active, reducing, flattening or halted.", at_most=4),
    "result": Bound(values="hit, miss or error; ok, transient, permanent, crashed or broken.", at_most=8),
    "verb": Bound(values="Verbs of HTTP.", at_most=8),
    "record": Bound(values="pair, routing, trading or rollout.", at_most=4),
    "step": Bound(values="Steps of a rollout.", at_most=8),
    "verdict": Bound(values="Pass, Fail or Inconclusive.", at_most=3),
    "dependency": Bound(values="kafka, postgres, mlflow or kubernetes.", at_most=4),
}
