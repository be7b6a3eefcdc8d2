"""The life of an installation, from `helm install` to `helm uninstall`, as its user sees it: kubectl, helm and the registry.

Each step says what it does and checks what came of it. The market stands still between two steps, so that everything can be counted: the
bars that a step plays are the only ones there are.
"""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster import versions
from cluster.isolation import NAMESPACE
from cluster.market import ACCOUNT, Market
from cluster.node import Node
from cluster.release import NAME, Release
from cluster.steps import check, eventually, say, step
from cluster.versions import PAIRS, SECTOR, Versions
from cluster.world import (
    BARS_AT_ONCE,
    BARS_MAX,
    KINDS,
    SERVES_S,
    TOLD_S,
    World,
    account_manifest,
    pair_manifest,
    pair_names,
    rollout_name,
    sector_manifest,
)
from tandem.domain.forecasts import ModelRef

_MLFLOW = f"http://{NAME}-mlflow.{NAMESPACE}.svc:5000"
_BARS_DISRUPTED = 30
_WRONG = 2.5  # times the fitted volatility
_WORSE = 2.75
_UPGRADED = "tandem.trading/upgraded"
# Who the dashboard's variables name, each by a connection: a page tells of a server that is away, and is Ready without it.
_ASKS = """
import socket
from urllib.parse import urlsplit
from tandem.settings import load
told = load()
urls = [told.portfolio_url, told.alpaca_api_url, told.mlflow_tracking_uri, told.postgres_url.get_secret_value()]
places = [(url.hostname, url.port) for url in map(urlsplit, [*urls, "//" + told.kafka_bootstrap_servers])]
for host, port in places:
    socket.create_connection((host, port), 10).close()
    print(f"{host}:{port}")
"""
_ALIKE = 1.02  # no gate can tell it from the fitted one


def run(node: Node, archives: Sequence[Path]) -> None:
    """All of it. Raises Unmet or another TandemError, where it stops."""
    with step(f"import {len(archives)} images; meanwhile train the sector on the years before the replay"), ThreadPoolExecutor() as pool:
        trained = pool.submit(versions.train, node.home)
        for archive in archives:
            node.load(archive)
        training = trained.result()
    release = Release(node.api)
    node.api.create_namespace(NAMESPACE)
    with step("helm install: embedded Kafka, Postgres, Redis and MLflow, the recycler as market"):
        release.install()
    with step("helm test"):
        say("  " + release.test().strip().replace("\n", "\n  "))
    with step("the dashboard reaches every server that it asks, past the policies"):
        say("  " + release.kubectl("exec", f"deployment/{NAME}-dashboard-{ACCOUNT}", "--", "python", "-c", _ASKS).replace("\n", "\n  "))
    market = Market(release, SECTOR)
    try:
        world = World(node=node, release=release, market=market, versions=Versions(training=training, tracking_uri=_MLFLOW))
        _trade(world)
        better = _promote(world)
        _refuse(world, better)
        _roll_back(world, better)
        _disrupt(world)
        _change(world)
        _leave(world)
    finally:
        market.close()


def _trade(world: World) -> None:
    """Declare, and see orders fill."""
    with step("register a first version, whose variance is much too large"):
        first = world.versions.register(_WRONG)
    with step("kubectl apply: an account, the sector's model, pairs"):
        world.apply(account_manifest(), sector_manifest(), *map(pair_manifest, PAIRS))
        refused = world.node.api.kubectl(
            "apply", "--namespace", NAMESPACE, "-f", "-", text=json.dumps(pair_manifest("KO-KO", legs=("KO", "KO")))
        )
        check(refused.returncode != 0 and "legs_differ" in refused.stderr, f"a pair of KO and KO is not refused: {refused.stderr}")
        say(f"  refused as it must be: {refused.stderr.strip().splitlines()[-1]}")
    with step("everything becomes Ready"):
        world.wait_ready("sectormodel", str(SECTOR), SERVES_S)
        for name in pair_names():
            world.wait_ready("tradingpair", name, TOLD_S)
        world.wait_ready("tradingaccount", ACCOUNT, TOLD_S)
        world.check_sector(first, "the first version is adopted")
        world.show(KINDS)
    with step("the market opens, and orders fill"):
        for _ in range(BARS_MAX // BARS_AT_ONCE):
            world.market.play(BARS_AT_ONCE)
            if world.market.rows("SELECT count(*) FROM fills")[0][0] >= 4:
                break
        check(world.market.verify().fills >= 4, "no pair was opened and closed")


def _promote(world: World) -> ModelRef:
    """A better version takes over."""
    with step("register a better version: it is tried, passes, and takes over"):
        better = world.begin_rollout(1.0)
        world.play_until(better, lambda status: status.get("promotedEpoch", 0) > 0, "promoted")
        world.check_acted_on(better)
        world.play_until(better, lambda status: status.get("outcome") == "Succeeded", "there to stay")
        world.market.verify()
    return better


def _refuse(world: World, stable: ModelRef) -> None:
    """A worse version does not."""
    with step("register a worse version: it is tried and refused"):
        worse = world.begin_rollout(_WORSE)
        world.play_until(worse, lambda status: status.get("outcome") == "Refused", "refused")
        world.check_sector(stable, "a refused version changes nothing")
        eventually(lambda: world.versions.quarantined(worse), f"version {worse.version} to be quarantined", TOLD_S, world.told)
        told = eventually(lambda: world.events(("GateFailed", "Quarantined")), "an Event that says why", TOLD_S, world.told)
        say("  " + "\n  ".join(told))
        world.market.verify()


def _roll_back(world: World, stable: ModelRef) -> None:
    """One that nobody can tell from the stable one is promoted, and taken back by hand."""
    with step("register a version that is as good; promoted, it is rolled back by hand"):
        alike = world.begin_rollout(_ALIKE)
        world.play_until(alike, lambda status: status.get("promotedEpoch", 0) > 0, "promoted")
        world.check_acted_on(alike)
        began_s = time.monotonic()
        world.release.kubectl("annotate", "modelrollout", rollout_name(alike), "tandem.trading/request=rollback")
        eventually(lambda: world.sector_status().get("stableVersion") == stable.version, "the roll-back", TOLD_S, world.told)
        say(f"  rolled back {time.monotonic() - began_s:.1f} s after the request")
        world.check_acted_on(stable)
        world.market.verify()
        world.show("modelrollouts")


def _disrupt(world: World) -> None:
    """Kill one part after the other while bars come; all of them are acted on, once."""
    forecaster = f"app.kubernetes.io/component=forecaster,tandem.trading/model-version={world.sector_status()['stableVersion']}"
    for name, selector in (
        ("forecaster", forecaster),
        ("portfolio", "app.kubernetes.io/component=portfolio"),
        ("operator", "app.kubernetes.io/component=operator"),
        ("Kafka", "app.kubernetes.io/component=kafka"),
    ):
        with step(f"kill -9 the {name} while bars come"):
            _kill_while_bars_come(world, selector)
    with step("delete the portfolio's and the forecaster's pods"):
        for selector in (forecaster, "app.kubernetes.io/component=portfolio"):
            world.release.kubectl("delete", "pods", "--selector", selector, "--wait=false")
        world.market.play(BARS_AT_ONCE)
        world.release.wait_ready(SERVES_S)
        world.market.verify()
    with step("what the operator forgot while it was dead, it finds again: a Service deleted by hand comes back"):
        world.release.kubectl("delete", "service", f"forecaster-{SECTOR}")
        eventually(lambda: world.exists("service", f"forecaster-{SECTOR}"), "the Service to come back", TOLD_S, world.told)


def _kill_while_bars_come(world: World, selector: str, *, name: str = "") -> None:
    """The newest pod with these labels, or the one of this name. What it left undone is done afterwards, once."""
    due = world.market.status()["bars"] + _BARS_DISRUPTED
    world.market.begin(_BARS_DISRUPTED, bars_per_s=5)
    world.market.await_bar(due - _BARS_DISRUPTED + 1)
    world.kill([pod for pod in world.release.pods(selector) if name in ("", pod["metadata"]["name"])][-1])
    left = due - world.market.status()["bars"]
    check(left > 0, "all bars had come before the kill")
    say(f"  killed with {left} of {_BARS_DISRUPTED} bars to come")
    world.market.settle(_BARS_DISRUPTED)
    world.release.wait_ready(SERVES_S)
    world.market.play(BARS_AT_ONCE)
    world.market.verify()


def _change(world: World) -> None:
    """Upgrade with everything alive, to a portfolio with a second pod; then take back one pair."""
    with step("helm upgrade: new pods of all our services but the market, and a portfolio that stands by"):
        before = world.market.verify()
        components = ("operator", "portfolio", "recorder", "ingestor", "forecaster")
        values: dict[str, dict[str, object]] = {component: {"annotations": {_UPGRADED: "yes"}} for component in components}
        world.release.upgrade({**values, "portfolio": {**values["portfolio"], "replicas": 2}})
        eventually(lambda: world.all_annotated(components, _UPGRADED), "all pods to be of the new kind", SERVES_S, world.release.told)
        world.release.wait_ready()
        world.wait_ready("sectormodel", str(SECTOR), SERVES_S)
        world.market.play(2 * BARS_AT_ONCE)
        after = world.market.verify()
        check(after.bars == before.bars + 2 * BARS_AT_ONCE and after.orders >= before.orders, f"before {before}, after {after}")
    with step("kill -9 the portfolio that trades while bars come: the other one takes over"):
        writer = world.writer()
        _kill_while_bars_come(world, "app.kubernetes.io/component=portfolio", name=writer)
        check(world.writer() != writer, f"{writer} trades again, nobody took over")
        say(f"  {world.writer()} trades in the place of {writer}")
    with step("kubectl delete tradingpair: it is closed first, then gone"):
        pair = PAIRS[0]
        world.market.stroll(1.0)
        world.release.kubectl("delete", "tradingpair", pair.lower(), "--timeout=240s", timeout_s=250)
        world.market.halt()
        state = world.market.rows("SELECT state FROM pair_states WHERE pair = %s", str(pair))
        check(all(row == ("flat",) for row in state), f"{pair} was withdrawn with state {state}")
        world.market.verify()


def _leave(world: World) -> None:
    """Uninstall, with the market open so that what is held can be closed. Nothing stays."""
    with step("helm uninstall: pairs are closed and withdrawn, then everything goes"):
        world.market.stroll(1.0)
        world.release.uninstall()
        eventually(lambda: not world.left(), "everything to be gone", TOLD_S, lambda: "\n".join(world.left()))
        definitions = world.release.kubectl("get", "customresourcedefinitions", "--output=name")
        check("tandem.trading" not in definitions, f"definitions are left: {definitions}")
