"""The replay gate's run: `python -m tandem.forecaster.replay_check --model NAME --version N` prints one JSON object.

Loads a registered version, decides its recorded span again, and compares with what the trainer recorded: {"passed", "digest", "reason"}.
A process of its own, so that a model that crashes or eats memory takes nobody with it. Exit code 0 with a verdict, passed or not; 1 when a
server is away: then there is no verdict, and it is run again.
"""

import argparse
import json
import math
import sys
from dataclasses import asdict

from tandem import settings as settings_module
from tandem.adapters.mlflow_registry import load_bundle, load_recording
from tandem.adapters.onnx_network import OnnxNetwork
from tandem.domain.errors import BadRecord, BadSetting, Permanent, Transient
from tandem.flow.decision_digest import Decided, Recording, replay
from tandem.quant.bundle import Bundle
from tandem.rollout.observed import ReplayCheck

DRIFT_MAX = 1e-4  # of a pair's mean log variance: a hundredth of a per cent; another processor's last digits are a thousand times smaller


def check(tracking_uri: str, name: str, version: str) -> ReplayCheck:
    """The verdict on a registered version. Raises Transient without a server."""
    try:
        ref, bundle = load_bundle(tracking_uri, name, version)
        found = load_recording(tracking_uri, ref)
        if found is None:
            reason = "registered without a recorded span: train it again, or let the policy ask for no replay"
            return ReplayCheck(passed=False, digest="", reason=reason)
        stated, recorded = found
        return verdict(stated, recorded, _replayed(bundle, recorded))
    except Permanent as error:
        return ReplayCheck(passed=False, digest="", reason=f"{type(error).__name__}: {error}")


def verdict(stated: str, recorded: Recording, now: Decided) -> ReplayCheck:
    """Training's decisions against today's. stated: the digest that the registry's tag states."""
    what = f"{now.decisions} decisions on {len(recorded.span.close_ns)} recorded bars"
    if now.digest != stated:
        reason = f"{what} have digest {now.digest[:12]}, at training it was {stated[:12]}"
        return ReplayCheck(passed=False, digest=now.digest, reason=reason)
    before = recorded.decided.log_variance
    drift = {pair: abs(mean - before.get(pair, math.inf)) for pair, mean in now.log_variance.items()}
    worst = max(drift, key=lambda pair: drift[pair], default=None)
    if worst is not None and not drift[worst] <= DRIFT_MAX:
        reason = f"{worst}: mean log variance {now.log_variance[worst]:.6f}, at training {before.get(worst, math.nan):.6f}"
        return ReplayCheck(passed=False, digest=now.digest, reason=f"{reason}, may differ by {DRIFT_MAX:g}")
    return ReplayCheck(passed=True, digest=now.digest, reason=f"{what} are those of its training")


def _replayed(bundle: Bundle, recorded: Recording) -> Decided:
    try:
        return replay(bundle, OnnxNetwork(bundle.onnx), recorded.span)
    except ValueError as error:
        raise BadRecord("span_unusable", str(error)) from error


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="replay_check", description="Decide a version's recorded span again.")
    parser.add_argument("--model", required=True, help="the registered model")
    parser.add_argument("--version", required=True, help="its version")
    given = parser.parse_args(arguments)
    try:
        uri = settings_module.load().mlflow_tracking_uri
        if not uri:
            raise BadSetting("not set: MLFLOW_TRACKING_URI")
        found = check(uri, given.model, given.version)
    except (Transient, BadSetting) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
