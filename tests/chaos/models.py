"""Models for chaos runs: small ones, fitted once for a file and span, registered and kept, by `python -m chaos.models`.

Their quality does not matter here, only that forecasts come and pairs trade. The registry is MLflow's, in a file instead of behind its
server: forecasters read it at their start only, and nothing that is broken here is on that way.
"""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from chaos.market import ROOT, ReplayPlan
from tandem.domain.errors import Permanent
from tandem.domain.forecasts import ModelRef
from tandem.local.processes import last_lines

_FIT_S_MAX = 540  # the first time on a machine compiles for a minute
_SOURCES = ("quant/bundle.py", "quant/features.py", "quant/gru.py", "adapters/mlflow_registry.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Registered versions by sector: the one that is acted on, and one of other content with the same numbers, for rollouts."""

    tracking_uri: str
    refs: dict[str, ModelRef]
    candidates: dict[str, ModelRef]


def models(plan: ReplayPlan, folder: Path) -> Models:
    """The models of a plan, made when they are not there. Raises Permanent with the end of the log."""
    place = folder / _key(plan)
    told = place / "models.json"
    if not told.exists():
        place.mkdir(parents=True, exist_ok=True)
        _fit(plan, place)
    refs, candidates = (
        {sector: ModelRef(**versions[number]) for sector, versions in orjson.loads(told.read_bytes()).items()} for number in (0, 1)
    )
    return Models(tracking_uri=_uri(place), refs=refs, candidates=candidates)


def _key(plan: ReplayPlan) -> str:
    sources = b"".join((ROOT / "services" / "tandem" / name).read_bytes() for name in _SOURCES)
    pairs = [spec.pair for spec in plan.pairs]
    text = f"two versions {plan.digest} {plan.bar} {plan.spans.train_from_ns} {plan.spans.train_to_ns} {pairs}".encode() + sources
    return hashlib.sha256(text).hexdigest()[:16]


def _uri(place: Path) -> str:
    return f"sqlite:///{place / 'mlflow.db'}"


def _fit(plan: ReplayPlan, place: Path) -> None:
    task = {
        "data": str(plan.data),
        "bar": plan.bar,
        "from_ns": plan.spans.train_from_ns,
        "to_ns": plan.spans.train_to_ns,
        "sectors": {sector.sector: [spec.pair for spec in sector.declared] for sector in plan.sectors},
    }
    (place / "task.json").write_bytes(orjson.dumps(task))
    log, path = place / "fit.log", os.pathsep.join((str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")))  # ours may be relative
    with log.open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "chaos.models", str(place)],
            cwd=place,
            env={**os.environ, "PYTHONPATH": path},
            stdout=out,
            stderr=out,
            timeout=_FIT_S_MAX,
            check=False,
        )
    if done.returncode:
        raise Permanent(f"the models cannot be fitted:\n{last_lines(log)}")


def main(place: Path) -> None:
    """Fit and register what task.json asks for."""
    from model_cases import tiny_options
    from tandem.adapters.market_file import load_market_data
    from tandem.trainer.sectors import fit_sector, register_sector

    task = orjson.loads((place / "task.json").read_bytes())
    options = tiny_options()
    options = options.model_copy(update={"walk_forward": options.walk_forward.model_copy(update={"folds": 1})})
    data = load_market_data(Path(task["data"]), to_ns=task["to_ns"])
    refs = {}
    for sector, pairs in task["sectors"].items():
        span = {"bar": task["bar"], "from_ns": task["from_ns"], "to_ns": task["to_ns"]}
        bundle = fit_sector(data, sector, symbols=[], declared=pairs, options=options, **span)
        made = [register_sector(_uri(place), one) for one in (bundle, replace(bundle, seed=bundle.seed + 1))]
        refs[sector] = [{"name": ref.name, "version": ref.version, "digest": ref.digest} for ref in made]
    (place / "models.json").write_bytes(orjson.dumps(refs))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
