"""One writer: who gets the lease, when it is lost, and that nothing is written without it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sector_world import Faults, MemoryCluster
from tandem.adapters.kubernetes_cluster import REQUEST_TIMEOUT_S
from tandem.operator.lease import NAME, GuardedCluster, Lease, NotLeader, Times

QUICK = Times(duration_s=1.0, renewal_deadline_s=0.6, retry_s=0.05)
LIMIT_S = 10.0


def until(condition: Callable[[], bool]) -> float:
    """Poll; the seconds that it took."""
    started_s = time.monotonic()
    while not condition():
        assert time.monotonic() - started_s < LIMIT_S, "waited in vain"
        time.sleep(0.005)
    return time.monotonic() - started_s


@contextmanager
def asking(cluster: MemoryCluster, identity: str, changes: list[bool] | None = None) -> Iterator[Lease]:
    """A process that asks for the lease; leaving is its orderly stop."""
    told = changes if changes is not None else []
    lease = Lease(cluster, identity, on_change=told.append, times=QUICK)
    lease.start()
    try:
        yield lease
    finally:
        lease.stop()


def holder(cluster: MemoryCluster) -> str:
    """Who stands on the Lease."""
    found = cluster.get("Lease", NAME)
    return found["spec"]["holderIdentity"] if found else ""


def test_a_write_that_begins_under_the_lease_ends_under_it() -> None:
    """The longest request fits between the moment when the holder stops and the one when another may begin."""
    times = Times()
    assert times.renewal_deadline_s + sum(REQUEST_TIMEOUT_S) <= times.duration_s
    assert times.retry_s * 3 < times.renewal_deadline_s


def test_the_first_takes_it_and_the_second_waits_until_it_is_given_back() -> None:
    """An orderly stop hands over at once."""
    cluster, changes = MemoryCluster(Faults()), list[bool]()
    with asking(cluster, "one") as one:
        until(lambda: one.held)
        with asking(cluster, "two", changes) as two:
            deadline_s = time.monotonic() + QUICK.duration_s * 1.5  # longer than it lasts unless it is renewed
            while time.monotonic() < deadline_s:
                assert not two.held
                assert holder(cluster) == "one"
            one.stop()
            assert until(lambda: two.held) < QUICK.duration_s
            assert holder(cluster) == "two"
            assert not one.held
            found = cluster.get("Lease", NAME)
            assert found is not None
            assert found["spec"]["leaseTransitions"] == 1
    assert changes[0] is True
    assert holder(cluster) == ""


def test_a_killed_holder_is_replaced_after_its_time_and_not_before() -> None:
    """The other one goes by its own clock and by the record, not by the times written in it."""
    cluster = MemoryCluster(Faults())
    far = "2999-01-01T00:00:00.000000Z"
    spec = {"holderIdentity": "killed", "leaseDurationSeconds": 1, "acquireTime": far, "renewTime": far, "leaseTransitions": 7}
    cluster.create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}, "spec": spec})
    with asking(cluster, "two") as two:
        assert until(lambda: two.held) >= 1.0
        found = cluster.get("Lease", NAME)
        assert found is not None
        assert found["spec"]["leaseTransitions"] == 8


def test_the_same_pod_goes_on_at_once_after_a_restart() -> None:
    """The kubelet starts a container only when the one before has ended."""
    cluster = MemoryCluster(Faults())
    spec = {"holderIdentity": "pod", "leaseDurationSeconds": 3600, "leaseTransitions": 3}
    cluster.create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}, "spec": spec})
    with asking(cluster, "pod") as lease:
        until(lambda: lease.held)
        found = cluster.get("Lease", NAME)
        assert found is not None
        assert found["spec"]["leaseTransitions"] == 3


def test_a_holder_that_cannot_renew_stops_in_time_and_comes_back() -> None:
    """Without the API server nobody else can have taken it before this one has stopped."""
    faults, changes = Faults(), list[bool]()
    cluster = MemoryCluster(faults)
    with asking(cluster, "one", changes) as lease:
        until(lambda: changes == [True])
        faults.away.add("cluster")
        assert until(lambda: not lease.held) <= QUICK.renewal_deadline_s + 0.2
        with pytest.raises(NotLeader, match="does not hold the lease"):
            lease.check()
        until(lambda: lease.trouble is not None and changes == [True, False])
        faults.away.clear()
        until(lambda: lease.held and lease.trouble is None and changes == [True, False, True])


def test_two_that_ask_at_once_do_not_both_get_it() -> None:
    """Whatever the order of their requests: at every moment at most one holds it."""
    cluster = MemoryCluster(Faults())
    with asking(cluster, "one") as one, asking(cluster, "two") as two, asking(cluster, "three") as three:
        deadline_s = time.monotonic() + 1.5
        seen = 0
        while time.monotonic() < deadline_s:
            held = [lease.held for lease in (one, two, three)]
            assert sum(held) <= 1
            seen += sum(held)
        assert seen


def test_a_guarded_cluster_reads_always_and_writes_only_under_the_lease() -> None:
    """Every one of the writes."""
    cluster = MemoryCluster(Faults())
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})

    def refuse() -> None:
        raise NotLeader("not now")

    guarded = GuardedCluster(cluster, refuse)
    assert guarded.get("ConfigMap", "a") is not None
    assert len(guarded.list("ConfigMap")) == 1
    writes: tuple[Callable[[], object], ...] = (
        lambda: guarded.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}),
        lambda: guarded.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}),
        lambda: guarded.patch("ConfigMap", "a", {"data": {}}),
        lambda: guarded.patch_status("ConfigMap", "a", {}),
        lambda: guarded.delete("ConfigMap", "a"),
    )
    for write in writes:
        with pytest.raises(NotLeader):
            write()
    assert len(cluster.objects) == 1
