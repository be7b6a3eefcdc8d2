"""One writer: who gets the lease, when it is lost, and that nothing is written without it.

The tests move the clock by which leases last: a machine that stands still for a second loses none.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from polling import until
from sector_world import Faults, MemoryCluster
from tandem.adapters.kubernetes_cluster import REQUEST_TIMEOUT_S
from tandem.operator.lease import NAME, GuardedCluster, Lease, NotLeader, Times

TIMES = Times(duration_s=15.0, renewal_deadline_s=10.0, retry_s=0.01)  # each is asked for again at once, by the machine's clock
STEP_S = 2.0


class Clock:
    """Stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def lease_of(cluster: MemoryCluster, identity: str, clock: Clock, changes: list[bool] | None = None) -> Lease:
    """One that a test looks at by itself."""
    told = changes if changes is not None else []
    return Lease(cluster, identity, on_change=told.append, times=TIMES, clock=clock)


@contextmanager
def asking(cluster: MemoryCluster, identity: str, clock: Clock, changes: list[bool] | None = None) -> Iterator[Lease]:
    """A process that asks for the lease; leaving is its orderly stop."""
    lease = lease_of(cluster, identity, clock, changes)
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
    """For longer than it lasts unless it is renewed; an orderly stop hands over at once."""
    cluster, clock, changes = MemoryCluster(Faults()), Clock(), list[bool]()
    with asking(cluster, "one", clock) as one:
        until(lambda: one.held)
        with asking(cluster, "two", clock, changes) as two:
            for _ in range(round(2 * TIMES.duration_s / STEP_S)):
                clock.now_s += STEP_S
                until(lambda: one._renewed_s == clock.now_s)
                assert not two.held
                assert holder(cluster) == "one"
            one.stop()
            until(lambda: two.held)  # by a clock that stands still
            assert holder(cluster) == "two"
            assert not one.held
            found = cluster.get("Lease", NAME)
            assert found is not None
            assert found["spec"]["leaseTransitions"] == 1
    assert changes[0] is True
    assert holder(cluster) == ""


def test_a_killed_holder_is_replaced_after_its_time_and_not_before() -> None:
    """The other one goes by its own clock and by the record, not by the times written in it."""
    cluster, clock = MemoryCluster(Faults()), Clock()
    far = "2999-01-01T00:00:00.000000Z"
    spec = {"holderIdentity": "killed", "leaseDurationSeconds": 7, "acquireTime": far, "renewTime": far, "leaseTransitions": 7}
    cluster.create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}, "spec": spec})
    two = lease_of(cluster, "two", clock)
    for _ in range(2):
        two.look()
        assert not two.held
        clock.now_s += 3.5
    two.look()
    assert not two.held, "it has stood for seven seconds, not for longer"
    clock.now_s += 0.1
    two.look()
    assert two.held
    found = cluster.get("Lease", NAME)
    assert found is not None
    assert found["spec"]["leaseTransitions"] == 8


def test_the_same_pod_goes_on_at_once_after_a_restart() -> None:
    """The kubelet starts a container only when the one before has ended."""
    cluster = MemoryCluster(Faults())
    spec = {"holderIdentity": "pod", "leaseDurationSeconds": 3600, "leaseTransitions": 3}
    cluster.create({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}, "spec": spec})
    with asking(cluster, "pod", Clock()) as lease:
        until(lambda: lease.held)
        found = cluster.get("Lease", NAME)
        assert found is not None
        assert found["spec"]["leaseTransitions"] == 3


def test_a_holder_that_cannot_renew_stops_in_time_and_comes_back() -> None:
    """Without the API server nobody else can have taken it before this one has stopped."""
    faults, clock, changes = Faults(), Clock(), list[bool]()
    lease = lease_of(MemoryCluster(faults), "one", clock, changes)
    lease.look()
    assert changes == [True]
    faults.away.add("cluster")
    renewed_s = clock.now_s
    while lease.held:
        lease.look()
        assert lease.trouble is not None
        assert changes == [True]
        clock.now_s += STEP_S
    assert clock.now_s - renewed_s == TIMES.renewal_deadline_s
    with pytest.raises(NotLeader, match="does not hold the lease"):
        lease.check()
    lease.look()
    assert changes == [True, False]
    faults.away.clear()
    lease.look()
    assert lease.held
    assert lease.trouble is None
    assert changes == [True, False, True]


def test_two_that_ask_at_once_do_not_both_get_it() -> None:
    """Whatever the order of their requests, and while it expires again and again: at every moment at most one holds it."""
    cluster, clock = MemoryCluster(Faults()), Clock()
    with asking(cluster, "one", clock) as one, asking(cluster, "two", clock) as two, asking(cluster, "three", clock) as three:
        seen = 0
        for step in range(300):
            time.sleep(0.005)  # let them ask
            held = [lease.held for lease in (one, two, three)]
            assert sum(held) <= 1
            seen += sum(held)
            clock.now_s += 20.0 if step % 10 == 9 else STEP_S
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
