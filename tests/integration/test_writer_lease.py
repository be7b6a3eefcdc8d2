"""One writer per account on a real PostgreSQL: who takes over when, and what the one before can still do."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import psycopg2
import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError

from replay_world import until
from stopwatch import Stopwatch
from tandem.adapters import postgres
from tandem.adapters.postgres_ledger import PortfolioStore
from tandem.adapters.writer_lease import LEASE_S_MIN, Fenced, WriterLease
from tandem.domain.errors import BadSetting
from tandem.domain.trading import Order, Side
from tandem.flow.journal import Changes
from tandem.portfolio.sender import Sender
from tandem.settings import Settings
from trading_cases import INTENT, KO, PAIR

LEASE_S: float = Settings.model_fields["lease_s"].default
HOLDER = """
import sys, structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from tandem.adapters.writer_lease import WriterLease
lease = WriterLease(sys.argv[1], sys.argv[2], lease_s=float(sys.argv[3]))
print(lease.try_take(), lease.epoch, flush=True)
for line in sys.stdin:
    try:
        lease.check()
        print("mine", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    postgres.upgrade(postgres_url)
    return postgres_url


@pytest.fixture
def account(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def holder(url: str, account: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lease, and says for each line that it gets whether it is still its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, account, str(LEASE_S)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True 1\n"
    yield process
    process.kill()
    process.communicate()


def taken_within_s(lease: WriterLease) -> float:
    """How long it takes until the lease is taken, on a machine that others use, too."""
    watch = Stopwatch()
    until("the lease is taken", lease.try_take)
    return watch.seconds()


def test_the_second_stands_by_and_takes_over_when_the_first_lets_go(url: str, account: str) -> None:
    first, second = WriterLease(url, account, lease_s=LEASE_S), WriterLease(url, account, lease_s=LEASE_S)
    assert first.try_take()
    assert not second.try_take()
    assert second.holder == first._name

    first.release()
    assert taken_within_s(second) < 1.0
    assert (first.epoch, second.epoch) == (1, 2)
    second.release()


def test_a_killed_writer_is_followed_at_once(url: str, account: str, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()

    with WriterLease(url, account, lease_s=LEASE_S) as lease:
        assert taken_within_s(lease) < 1.0
        assert lease.epoch == 2


def test_a_writer_that_hangs_is_followed_and_finds_itself_fenced(url: str, account: str, holder: subprocess.Popen[str]) -> None:
    """Stopped, not ended: its connections stay, and it wakes up in the belief that nothing has happened."""
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.send_signal(signal.SIGSTOP)
    with WriterLease(url, account, lease_s=LEASE_S) as lease:
        assert not lease.try_take()
        assert taken_within_s(lease) < LEASE_S + 1.0

        holder.send_signal(signal.SIGCONT)
        holder.stdin.write("?\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "Fenced\n"
        lease.check()


def test_a_writer_that_hangs_in_the_midst_of_a_transaction_is_followed(url: str, account: str, holder: subprocess.Popen[str]) -> None:
    """Its transaction holds the epoch still, and would for ever."""
    hanging = psycopg2.connect(url)
    with WriterLease(url, account, lease_s=LEASE_S) as lease:
        cursor = hanging.cursor()
        cursor.execute("SELECT epoch FROM writers WHERE account = %s FOR KEY SHARE", (account,))
        holder.send_signal(signal.SIGSTOP)
        assert taken_within_s(lease) < LEASE_S + 2.0
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
    hanging.close()


def keeps(first: WriterLease, second: WriterLease) -> None:
    """The first stays the writer for longer than a lease lasts, whatever the second tries."""
    end_s = time.monotonic() + LEASE_S + 1.5
    while time.monotonic() < end_s:
        assert not second.try_take()
        first.check()
        time.sleep(0.25)


def test_a_lease_is_kept_for_longer_than_it_lasts(url: str, account: str) -> None:
    first, second = WriterLease(url, account, lease_s=LEASE_S), WriterLease(url, account, lease_s=LEASE_S)
    assert first.try_take()
    keeps(first, second)
    first.release()
    second.release()


def test_a_writer_whose_connection_is_cut_is_fenced(url: str, account: str) -> None:
    with WriterLease(url, account, lease_s=LEASE_S) as first, WriterLease(url, account, lease_s=LEASE_S) as second:
        assert first.try_take()
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid, 1000) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        connection.close()
        assert taken_within_s(second) < 2.0

        watch = Stopwatch()
        with pytest.raises(Fenced):
            until("the first writer notices", first.check)
        assert watch.seconds() < LEASE_S


def fenced() -> float:
    """Transactions that were refused so far."""
    return REGISTRY.get_sample_value("tandem_portfolio_fenced_total") or 0.0


def test_a_stale_epoch_writes_nothing(url: str, account: str) -> None:
    """Neither through the store nor past it; each try is counted."""
    before = fenced()
    with WriterLease(url, account, lease_s=LEASE_S) as first:
        assert first.try_take()
        store = PortfolioStore(url, account, epoch=first.epoch)
        store.begin_book("recycled", Decimal(1))
        store.commit(Changes(intents=[INTENT]))
    with WriterLease(url, account, lease_s=LEASE_S) as second:
        until("PostgreSQL has seen the end of the first one's connection", second.try_take)
        with pytest.raises(Fenced, match="epoch 1 is over"):
            store.commit(Changes(intents=[replace(INTENT, intent_id="i2")]))
        unaware = PortfolioStore(url, account)
        unaware.open_newest_book()
        with pytest.raises(Fenced, match=r"the writer of book .* has epoch 2"):
            unaware.commit(Changes(intents=[replace(INTENT, intent_id="i2")]))
        assert fenced() == before + 2

        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT intent_id, epoch FROM intents WHERE book = %s", (store.book,))
            assert cursor.fetchall() == [("i1", 1)]
        connection.close()
    store.close()
    unaware.close()


def test_a_fenced_process_sends_nothing(url: str, account: str) -> None:
    """The broker would raise: it is never asked."""
    order = Order(
        client_order_id="c", intent_id="i1", pair=PAIR, leg="a", attempt=0, symbol=KO, side=Side.BUY, qty=1, limit_usd=None, decided_ns=0
    )
    with WriterLease(url, account, lease_s=LEASE_S) as first:
        assert first.try_take()
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE writers SET epoch = epoch + 1 WHERE account = %s", (account,))
        connection.close()
        first._renew()
        with pytest.raises(Fenced):
            Sender(None, lambda: True, may_send=first.check).submit(order)  # type: ignore[arg-type]


def test_a_lease_that_a_healthy_writer_could_lose_is_refused(url: str, account: str) -> None:
    """From one renewal to the end of the next pass up to three seconds; every setting that is allowed is longer."""
    with pytest.raises(BadSetting, match=r"lease of 2\.9 s: must be at least 3"):
        WriterLease(url, account, lease_s=2.9)
    with pytest.raises(ValidationError, match="greater than or equal to 3"):
        Settings(lease_s=2.9)
    WriterLease(url, account, lease_s=LEASE_S_MIN).release()


def test_a_writer_with_a_longer_lease_loses_nothing_to_one_with_a_shorter(url: str, account: str) -> None:
    """As while a change of the setting is rolled out."""
    with WriterLease(url, account, lease_s=8.0) as first, WriterLease(url, account, lease_s=LEASE_S) as second:
        assert first.try_take()
        keeps(first, second)
