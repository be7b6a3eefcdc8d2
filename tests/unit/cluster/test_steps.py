"""Steps tell what they wait for; a workload counts as rolled out only when nothing of the old kind is left."""

from typing import Any

import pytest

from cluster import steps
from cluster.isolation import leftovers
from cluster.release import merged, rolled_out_fully
from cluster.steps import Unmet, check, eventually, step


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls without pause."""
    monkeypatch.setattr(steps, "_POLL_S", 0)


def test_the_first_true_answer_is_returned() -> None:
    """However often it was asked before."""
    answers = iter([0, "", None, "here"])
    assert eventually(lambda: next(answers), "an answer", 5) == "here"


def test_when_time_is_up_what_there_was_to_see_is_told() -> None:
    """What was waited for, how long, and the state of things."""
    with pytest.raises(Unmet, match=r"waited 0 s in vain for rain\nblue sky"):
        eventually(lambda: False, "rain", 0, lambda: "blue sky")


def test_a_check_raises_its_text() -> None:
    """And nothing when it holds."""
    check(1, "never seen")
    with pytest.raises(Unmet, match="two pairs are open"):
        check((), "two pairs are open")


def test_a_step_that_fails_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line says what was being done."""
    with pytest.raises(Unmet), step("look for rain"):
        check(False, "none")
    assert [line.split("] ")[1] for line in capsys.readouterr().out.splitlines()] == ["look for rain ..."]


def workload(*, generation: int = 2, observed: int = 2, wanted: int = 1, updated: int = 1, ready: int = 1, all_pods: int = 1) -> Any:
    """A Deployment as the API server tells of it."""
    status = {"observedGeneration": observed, "updatedReplicas": updated, "readyReplicas": ready, "replicas": all_pods}
    return {"metadata": {"generation": generation}, "spec": {"replicas": wanted}, "status": status}


@pytest.mark.parametrize(
    ("found", "rolled_out"),
    [
        (workload(), True),
        (workload(wanted=0, updated=0, ready=0, all_pods=0), True),
        (workload(observed=1), False),  # its controller has not seen the newest change
        (workload(updated=0), False),  # Ready, but of the old kind
        (workload(ready=0), False),
        (workload(all_pods=2), False),  # an old pod is still there
        ({"metadata": {"generation": 1}, "spec": {}, "status": {}}, False),  # nobody has looked at it yet
    ],
)
def test_rolled_out(found: Any, rolled_out: bool) -> None:
    """All wanted pods are Ready and of the newest kind, and there are no others."""
    assert rolled_out_fully(found) is rolled_out


def test_values_are_merged_as_helm_does() -> None:
    """Maps key by key; lists and plain values are replaced."""
    base = {"kafka": {"heap": "-Xmx1g", "persistence": {"size": "8Gi"}}, "accounts": [{"name": "paper"}]}
    over = {"kafka": {"persistence": {"storageClass": "local"}}, "accounts": []}
    assert merged(base, over) == {"kafka": {"heap": "-Xmx1g", "persistence": {"size": "8Gi", "storageClass": "local"}}, "accounts": []}


def test_a_run_that_never_was_has_left_nothing(tmp_path: Any) -> None:
    """No file, cgroup, mount or process is named after it; a file would be found."""
    assert leftovers(tmp_path / "tandem-cluster-0") == []
    (tmp_path / "tandem-cluster-0").mkdir()
    assert leftovers(tmp_path / "tandem-cluster-0") == [str(tmp_path / "tandem-cluster-0")]
