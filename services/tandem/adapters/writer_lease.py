"""Who may write for an account: one process, under an epoch that rises with each change of hands. On PostgreSQL.

The writer holds an advisory lock as long as its connection lives, and renews a row every second. Whoever stands by takes over as soon as
the lock is free (the writer ended or was killed), or when the row was not renewed for lease_s (it hangs, or is cut off): then the
writer's connection is ended first. A writer that wakes up afterwards is kept out twice: its epoch is old, so that PostgreSQL refuses its
transactions (migration 0005), and before each order it proves that its lease has not run out while it slept. A renewal is due each second
whatever the lease, and takes two at most: leases of different lengths, as while the setting is changed, harm no healthy writer.
"""

import os
import socket
import threading
import time
from types import TracebackType

import psycopg2
import psycopg2.extensions
import structlog

from tandem.adapters.postgres import connect
from tandem.domain.errors import BadSetting, Transient

log = structlog.get_logger()
_RENEW_S = 1.0
_HANGS_S = 0.5  # a transaction of a writer whose lease has run out, and that waits for its client so long, waits for ever
_STATEMENT_TIMEOUT_MS = 2_000  # a renewal takes a millisecond; what takes longer is a server that cannot be counted on
LEASE_S_MIN = _RENEW_S + _STATEMENT_TIMEOUT_MS / 1000  # from one renewal to the end of the next, if that takes as long as it may
_LOCK_NAME = "tandem-portfolio-"
_AT = " at "  # between a holder's name and its address


class Fenced(Transient):
    """Another process writes for the account now. This one may only stand by."""


class WriterLease:
    """The right to write for one account. `try_take` until it gives an epoch, `check` before each effect, `release` in the end."""

    def __init__(self, url: str, account: str, *, lease_s: float, address: str = "") -> None:
        """address: host:port of this process's API, told to those that stand by. Raises Transient, BadSetting."""
        if lease_s < LEASE_S_MIN:
            raise BadSetting(f"a writer's lease of {lease_s:g} s: must be at least {LEASE_S_MIN:g}, or a healthy writer could lose it")
        self._lease_s = lease_s
        self.epoch = 0  # 0 until it is taken
        self.holder = ""  # who had the lease when it could not be taken, for people
        self._account, self._name = account, f"{socket.gethostname()}/{os.getpid()}{_AT + address if address else ''}"
        self._connection = connect(url, application="tandem-portfolio-lease")
        self._connection.autocommit = True
        self._guard = threading.Lock()  # of the connection: the renewing thread and whoever checks
        self._renewed_s = 0.0
        self._lost = ""
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        with self._connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {_STATEMENT_TIMEOUT_MS}")

    def __enter__(self) -> "WriterLease":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    @property
    def holder_address(self) -> str:
        """host:port of the holder's API; "" if it told none."""
        return self.holder.partition(_AT)[2]

    def try_take(self) -> bool:
        """Take the lease if nobody has it, or if its holder has not renewed it in time. Raises Transient."""
        try:
            with self._connection.cursor() as cursor:
                taken = self._locked(cursor) or (self._end_expired(cursor) and self._locked(cursor))
                if taken:
                    asked_s = _now_s()
                    cursor.execute(
                        "INSERT INTO writers (account, epoch, holder) VALUES (%s, 1, %s) ON CONFLICT (account) DO UPDATE "
                        "SET epoch = writers.epoch + 1, holder = EXCLUDED.holder, renewed_at = clock_timestamp() RETURNING epoch",
                        (self._account, self._name),
                    )
                    self.epoch, self._renewed_s = _value(cursor), asked_s
                else:
                    cursor.execute("SELECT holder FROM writers WHERE account = %s", (self._account,))
                    row = cursor.fetchone()
                    self.holder = row[0] if row else ""
        except psycopg2.Error as error:
            raise Transient(f"PostgreSQL, the writer's lease: {str(error).strip()}") from error
        if taken:
            self._thread = threading.Thread(target=self._keep, name="writer-lease", daemon=True)
            self._thread.start()
            log.info("writer_lease_taken", account=self._account, epoch=self.epoch)
        return bool(taken)

    def check(self) -> None:
        """Return while the lease is ours; it is proven anew if this process may have slept through it. Raises Fenced."""
        if not self._lost and _now_s() - self._renewed_s >= self._lease_s:
            self._renew()
        if self._lost:
            raise Fenced(f"account {self._account}: {self._lost}")

    def release(self) -> None:
        """Let others take it at once."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout=_STATEMENT_TIMEOUT_MS / 1000)
        self._connection.close()

    def _locked(self, cursor: psycopg2.extensions.cursor) -> bool:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (_LOCK_NAME + self._account,))
        return bool(_value(cursor))

    def _end_expired(self, cursor: psycopg2.extensions.cursor) -> bool:
        """End the connections of a holder that has not renewed in time; True if it is gone.

        Its ledger's connection, too, if it hangs in the midst of a transaction: that holds the epoch still.
        """
        cursor.execute(
            "SELECT EXISTS (SELECT FROM writers WHERE account = %s AND clock_timestamp() - renewed_at <= make_interval(secs => %s))",
            (self._account, self._lease_s),
        )
        if _value(cursor):
            return False
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid, 1000)) FROM (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "AND (classid::bigint << 32) | objid::bigint = hashtextextended(%s, 0) "
            "UNION SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.relation = 'writers'::regclass "
            "AND a.state = 'idle in transaction' AND clock_timestamp() - a.state_change > make_interval(secs => %s)) AS holders",
            (_LOCK_NAME + self._account, _HANGS_S),
        )
        ended = _value(cursor)
        log.warning("writer_lease_expired", account=self._account, connections_ended=ended)
        return True

    def _keep(self) -> None:
        """Renew until the end, or until it is lost."""
        while not self._ending.wait(_RENEW_S) and not self._lost:
            self._renew()

    def _renew(self) -> None:
        with self._guard:
            asked_s = _now_s()
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute(
                        "UPDATE writers SET renewed_at = clock_timestamp() WHERE account = %s AND epoch = %s", (self._account, self.epoch)
                    )
                    if cursor.rowcount == 1:
                        self._renewed_s = asked_s
                    else:
                        self._lost = f"epoch {self.epoch} is over, another portfolio has taken over"
            except psycopg2.Error as error:
                if not self._ending.is_set():
                    self._lost = f"the lease of epoch {self.epoch} could not be renewed: {str(error).strip()}"
        if self._lost:
            log.error("writer_lease_lost", account=self._account, reason=self._lost)


def _now_s() -> float:
    """Time that passes while the machine sleeps, too, and that nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _value(cursor: psycopg2.extensions.cursor) -> int:
    row = cursor.fetchone()
    assert row is not None, "the query always gives a row"
    return int(row[0])
