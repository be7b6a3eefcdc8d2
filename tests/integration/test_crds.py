"""The definitions in a real API server: the same manifests are taken and refused as by the models, and kubectl shows what it should."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kubernetes.client import ApiClient, ApiException, CustomObjectsApi

from cluster.control_plane import KubeApi
from definitions import install_definitions
from manifest_table import BAD, GOOD, SERVER_WORDS, Bad, account, pair, rollout, sector_model
from tandem.domain.forecasts import ModelRef
from tandem.domain.ids import PairId, SectorId
from tandem.rollout.conditions import READY, Finding, ready, updated
from tandem.rollout.crd import KINDS
from tandem.rollout.faults import parse
from tandem.rollout.labels import Owner
from tandem.rollout.model_rollout import ModelRolloutSpec, ModelRolloutStatus, document_of, state_of, status_of
from tandem.rollout.resources import API_VERSION, GROUP, VERSION, Status, Strict
from tandem.rollout.sector_model import RolloutSpec, SectorModelStatus
from tandem.rollout.state import GateResult, Moment, RolloutState, Step, Verdict
from tandem.rollout.trading_account import TradingAccountStatus
from tandem.rollout.trading_pair import TradingPairStatus

ROOT = Path(__file__).parents[2]
PLURALS = {kind.name: kind.plural for kind in KINDS}
MODELS = {kind.name: kind.model for kind in KINDS}
NOW_S = 1_800_000_000.25


@pytest.fixture(scope="module", autouse=True)
def _definitions(kube_api: KubeApi) -> None:
    install_definitions(kube_api)


@pytest.fixture(scope="module")
def client(kube_api: KubeApi) -> Iterator[ApiClient]:
    """One client for all tests."""
    with kube_api.client() as client:
        yield client


class Resources:
    """The custom resources of one namespace, under strict validation as kubectl asks for it."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._api = CustomObjectsApi(client)
        self._namespace = namespace

    def create(self, document: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """What the server makes of it."""
        where = (GROUP, VERSION, self._namespace, PLURALS[document["kind"]])
        options = {"dry_run": "All"} if dry_run else {}
        made: dict[str, Any] = self._api.create_namespaced_custom_object(*where, document, field_validation="Strict", **options)
        return made

    def replace(self, document: dict[str, Any]) -> dict[str, Any]:
        """The same for a new spec of an object that stands."""
        where = (GROUP, VERSION, self._namespace, PLURALS[document["kind"]], document["metadata"]["name"])
        made: dict[str, Any] = self._api.replace_namespaced_custom_object(*where, document, field_validation="Strict")
        return made

    def write_status(self, made: dict[str, Any], status: Status) -> dict[str, Any]:
        """Status by merge patch, as the operator writes it; the object as it stands then."""
        where = (GROUP, VERSION, self._namespace, PLURALS[made["kind"]], made["metadata"]["name"])
        written: dict[str, Any] = self._api.patch_namespaced_custom_object_status(*where, {"status": status.to_document()})
        return written


@pytest.fixture
def resources(client: ApiClient, kube_namespace: str) -> Resources:
    """In a new namespace."""
    return Resources(client, kube_namespace)


@pytest.fixture(scope="module")
def tried(client: ApiClient, kube_api: KubeApi) -> Iterator[Resources]:
    """For the rows of the table that leave nothing behind."""
    name = f"test-{uuid4().hex[:12]}"
    kube_api.create_namespace(name)
    yield Resources(client, name)
    kube_api.kubectl("delete", "namespace", name, "--wait=false")


def server_path(path: str) -> str:
    """A path as the API server writes it: spec.legs[0]."""
    return re.sub(r"\.(\d+)", r"[\1]", path)


def refusal(error: ApiException) -> str:
    """What the server said."""
    assert error.status in (400, 422), error
    return str(json.loads(error.body)["message"])


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.old is None], ids=str)
def test_a_bad_manifest_is_refused_by_the_same_rule(bad: Bad, tried: Resources) -> None:
    """By its name for our own rules, by the server's word for it otherwise, and at the same place."""
    with pytest.raises(ApiException) as error:
        tried.create(bad.manifest, dry_run=True)
    message = refusal(error.value)
    assert any(word in message for word in SERVER_WORDS.get(bad.rule, (f"{bad.rule}: ",))), message
    assert server_path(bad.path) in message


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.old is not None], ids=str)
def test_a_change_that_is_not_allowed_is_refused_by_the_same_rule(bad: Bad, resources: Resources) -> None:
    """What stands stays, and the rule is named."""
    assert bad.old is not None
    made = resources.create(bad.old)
    version = {"resourceVersion": made["metadata"]["resourceVersion"]}
    with pytest.raises(ApiException) as error:
        resources.replace(bad.manifest | {"metadata": bad.manifest["metadata"] | version})
    assert f"{bad.rule}: " in refusal(error.value)


@pytest.mark.parametrize("document", GOOD, ids=lambda document: document["kind"])
def test_a_good_manifest_means_the_same_to_the_server(document: dict[str, Any], tried: Resources) -> None:
    """What the server fills in is what the models fill in."""
    model = MODELS[document["kind"]]
    stored, ours = parse(model, tried.create(document, dry_run=True)), parse(model, document)
    assert isinstance(stored, Strict), stored
    assert isinstance(ours, Strict)
    assert stored.model_dump(include={"spec"}) == ours.model_dump(include={"spec"})


@pytest.mark.parametrize("folder", ["config/pairs", "config/samples"])
def test_kubectl_takes_what_the_repository_ships(folder: str, kube_api: KubeApi, kube_namespace: str) -> None:
    """The manifests of `tandem up`, and the samples."""
    done = kube_api.kubectl("apply", "--namespace", kube_namespace, "--filename", str(ROOT / folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("created") == len(list((ROOT / folder).glob("*.yaml")))


def test_kubectl_names_the_rule_to_a_person(kube_api: KubeApi, kube_namespace: str) -> None:
    """Two rules across fields, both in the answer."""
    manifest = json.dumps(pair(legs=["KO", "KO"], signal={"exitZ": 3}))
    done = kube_api.kubectl("apply", "--namespace", kube_namespace, "-f", "-", text=manifest)
    assert done.returncode == 1
    assert "legs_differ: the two legs must differ" in done.stderr
    assert "exit_below_entry: signal.exitZ must be below signal.entryZ" in done.stderr


def table(text: str) -> list[dict[str, str]]:
    """The rows of `kubectl get`, by column."""
    lines = text.splitlines()
    heads = [(match.group().strip(), match.start()) for match in re.finditer(r"\S+(?: \S+)*\s*", lines[0])]
    ends = [start for _, start in heads[1:]] + [None]
    return [{head: line[start:end].strip() for (head, start), end in zip(heads, ends, strict=True)} for line in lines[1:]]


def test_columns_of_a_pair(kube_api: KubeApi, kube_namespace: str, resources: Resources) -> None:
    """The pair's id, what was asked for, and whether it is ready and why not."""
    made = resources.create(pair())
    findings = (
        Finding(type="Accepted", status="True", reason="Accepted"),
        Finding(type="InModel", status="False", reason="PairNotInModel", message="version 3 does not hold KO-PEP"),
    )
    conditions = updated((), (*findings, ready(findings)), generation=1, now_s=NOW_S)
    written = resources.write_status(made, TradingPairStatus(observed_generation=1, pair="KO-PEP", conditions=conditions))
    assert TradingPairStatus.read(written).conditions == conditions
    (row,) = table(kube_api.kubectl("get", "tp", "-o", "wide", "--namespace", kube_namespace).stdout)
    assert row.pop("AGE")
    assert row == {
        "NAME": "ko-pep",
        "PAIR": "KO-PEP",
        "SECTOR": "consumer",
        "ENTRY": "2",
        "NOTIONAL": "10000",
        "READY": "False",
        "REASON": "PairNotInModel",
    }
    assert "NOTIONAL" not in kube_api.kubectl("get", "tp", "--namespace", kube_namespace).stdout


def test_columns_of_a_sector_model_and_its_scale(kube_api: KubeApi, kube_namespace: str, resources: Resources) -> None:
    """The scale subresource is what an autoscaler and kubectl move; a status write is no new generation."""
    made = resources.create(sector_model())
    status = SectorModelStatus(
        observed_generation=1,
        phase="Serving",
        stable_version="7",
        candidate_version="8",
        epoch=4,
        replicas=1,
        ready_replicas=1,
        selector="tandem.trading/sector=energy",
        conditions=updated((), (Finding(type=READY, status="True", reason="Serving"),), generation=1, now_s=NOW_S),
    )
    written = resources.write_status(made, status)
    assert written["metadata"]["generation"] == 1
    scope = ("--namespace", kube_namespace)
    assert kube_api.kubectl("scale", "smod", "energy", "--replicas=2", *scope).returncode == 0
    shown = kube_api.get("smod", "energy", *scope)
    assert (shown["spec"]["replicas"], shown["metadata"]["generation"]) == (2, 2)
    scale = kube_api.get("smod", "energy", "--subresource=scale", *scope)
    assert (scale["spec"]["replicas"], scale["status"]) == (2, {"replicas": 1, "selector": "tandem.trading/sector=energy"})
    refused = kube_api.kubectl("scale", "smod", "energy", "--replicas=13", *scope)
    assert "should be less than or equal to 12" in refused.stderr
    (row,) = table(kube_api.kubectl("get", "smod", *scope).stdout)
    assert row.pop("AGE")
    assert row == {"NAME": "energy", "SECTOR": "energy", "STABLE": "7", "CANDIDATE": "8", "PHASE": "Serving", "EPOCH": "4", "READY": "True"}
    resources.write_status(shown, status.model_copy(update={"candidate_version": None}))
    assert "candidateVersion" not in kube_api.get("smod", "energy", *scope)["status"]


def test_columns_of_an_account(kube_api: KubeApi, kube_namespace: str, resources: Resources) -> None:
    """Wanted and reported mode beside each other."""
    made = resources.create(account(mode="Flattening"))
    resources.write_status(made, TradingAccountStatus(mode="Active", open_pairs=2))
    (row,) = table(kube_api.kubectl("get", "ta", "--namespace", kube_namespace).stdout)
    assert row.pop("AGE")
    assert row == {
        "NAME": "paper",
        "SOURCE": "recycled",
        "WANTED": "Flattening",
        "MODE": "Active",
        "OPEN": "2",
        "READY": "",
        "REASON": "",
    }


STATE = RolloutState(
    sector=SectorId("energy"),
    candidate=ModelRef(name="pairs_trading_gru_garch_energy_v1", version="8", digest="d8"),
    stable=ModelRef(name="pairs_trading_gru_garch_energy_v1", version="7", digest="d7"),
    step=Step.SHADOW,
    started_s=NOW_S,
    step_entered_s=NOW_S + 1 / 3,
    step_entered_ns=1_799_999_999_123_456_789,
    evidence_from_ns=1_799_000_000_000_000_001,
    gates=(
        GateResult(
            name="qlike",
            verdict=Verdict.INCONCLUSIVE,
            reason="61 bars",
            bars=61,
            sessions=3,
            effect=-0.012345678,
            statistic=-1.2,
            p_value=1 / 3,
        ),
    ),
    replay_digest="ab12",
    reason="ShadowStarted",
    message="both forecast",
    history=(Moment(step=Step.SHADOW, at_s=NOW_S, reason="ShadowStarted", message=""),),
)


def test_a_rollout_survives_the_cluster(kube_api: KubeApi, kube_namespace: str, resources: Resources) -> None:
    """The planner's memory comes back as it was, to the nanosecond; the columns tell it to people; its owner collects it."""
    owner = resources.create(sector_model())
    reference = Owner(api_version=API_VERSION, kind="SectorModel", name="energy", uid=owner["metadata"]["uid"])
    made = resources.create(document_of(STATE, RolloutSpec(), namespace=kube_namespace, owner=reference))
    assert state_of(ModelRolloutSpec.model_validate(made["spec"]), ModelRolloutStatus.read(made)) is None
    written = resources.write_status(made, status_of(STATE, generation=1, now_s=NOW_S))
    assert state_of(ModelRolloutSpec.model_validate(written["spec"]), ModelRolloutStatus.read(written)) == STATE
    scope = ("--namespace", kube_namespace)
    (row,) = table(kube_api.kubectl("get", "mro", *scope).stdout)
    assert row.pop("AGE")
    assert row == {
        "NAME": "energy-v8",
        "SECTOR": "energy",
        "STABLE": "7",
        "CANDIDATE": "8",
        "STEP": "Shadow",
        "BARS": "61",
        "QLIKE DELTA": "-0.01235",
        "P": "0.3333",
        "VERDICT": "Inconclusive",
        "OUTCOME": "Running",
    }
    assert kube_api.kubectl("wait", "mro", "energy-v8", "--for=condition=CandidateReady", "--timeout=60s", *scope).returncode == 0
    assert kube_api.kubectl("delete", "smod", "energy", *scope).returncode == 0
    assert kube_api.kubectl("wait", "mro", "energy-v8", "--for=delete", "--timeout=110s", *scope).returncode == 0


def test_all_kinds_are_shown_together_and_explained(kube_api: KubeApi, kube_namespace: str, resources: Resources) -> None:
    """Category, short names and descriptions."""
    for document in (pair(), sector_model(), account(), rollout()):
        resources.create(document)
    names = kube_api.kubectl("get", "tandem", "-o", "name", "--namespace", kube_namespace).stdout.split()
    assert sorted(names) == [
        "modelrollout.tandem.trading/energy-v8",
        "sectormodel.tandem.trading/energy",
        "tradingaccount.tandem.trading/paper",
        "tradingpair.tandem.trading/ko-pep",
    ]
    explained = kube_api.kubectl("explain", "tradingpair.spec.signal.entryZ").stdout
    assert "Open at this distance from the mean." in explained


def test_a_condition_stands_once(resources: Resources) -> None:
    """They are a map by type: the server refuses the same type twice."""
    made = resources.create(pair())
    condition = updated((), (Finding(type="Accepted", status="True", reason="Accepted"),), generation=1, now_s=NOW_S)
    with pytest.raises(ApiException) as error:
        resources.write_status(made, TradingPairStatus(pair=PairId("KO-PEP"), conditions=condition * 2))
    assert "Duplicate value" in refusal(error.value)
