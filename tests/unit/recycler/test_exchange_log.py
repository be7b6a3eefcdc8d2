"""The paper exchange's log: what it says, that it is on disk before the answer, and that a killed exchange goes on from it."""

import os
import subprocess
import sys
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

import orjson
import pytest

from paper_cases import FREE, KO, MINUTE_NS, OPEN_NS, PEP, SESSION_NS, SYMBOLS, Bench, steady
from tandem.checker.evidence import ExchangeLine
from tandem.checker.exchange_checks import cash_change_usd
from tandem.domain.errors import BadSetting
from tandem.domain.trading import Side
from tandem.flow.exchange_records import Rules
from tandem.recycler.directives_body import planned
from tandem.recycler.exchange_log import LOG_FILE, ExchangeLog
from tandem.recycler.order_body import ChangeBody

TICKS = steady()
COSTS = Rules(participation=Decimal("0.05"))  # five shares of each trade: fills come in parts


def lines(folder):
    return [orjson.loads(text) for text in (folder / LOG_FILE).read_bytes().splitlines()]


def act(bench, minute):
    """What a client does at the end of some minutes."""
    if minute == 1:
        bench.order("a", Side.BUY, "12")
        bench.order("b", Side.SELL, "7", PEP)
        bench.paper.direct(planned({"at": "bar 4", "dividend": {"symbol": "KO", "usd_per_share": "0.5"}}, "div", (KO, PEP)))
    if minute == 2:
        bench.order("far", Side.BUY, "3", PEP, limit_usd=Decimal(1))
        bench.paper.replace(bench.record("far").order.order_id, ChangeBody(limit_usd=Decimal(2), client_order_id="far 2"))
        bench.order("too much", Side.BUY, "1000000")
    if minute == 3:
        bench.paper.cancel(bench.record("far 2").order.order_id)
        bench.paper.direct(planned({"manual_trade": {"symbol": "KO", "side": "sell", "qty": 2}}, "man", (KO, PEP)))
        bench.order("c", Side.SELL, "5")


def run(folder, *, killed_after=(), block=7, rules=COSTS):
    """All ten minutes, started again after some of them."""
    bench = Bench(TICKS, rules, folder=folder)
    for minute in range(1, 11):
        bench.play(minute, block=block)
        act(bench, minute)
        if minute in killed_after:
            bench.kill()
            bench = Bench(TICKS, rules, folder=folder)
    bench.kill()
    return bench


def test_interest_is_in_the_log_and_a_killed_exchange_does_not_take_it_twice(tmp_path):
    """The checker's own sum of the log is the account's cash, on a debit over the night; other rates are another account."""
    rules, close = Rules(margin_bps_year=Decimal(700)), SESSION_NS // MINUTE_NS
    bench = Bench(TICKS, rules, folder=tmp_path)
    bench.play(1)
    bench.order("long", Side.BUY, "2400")  # 144,000 USD with 100,000 in cash
    for minute in (2, close):
        bench.play(minute)
    bench.kill()
    again = Bench(TICKS, rules, folder=tmp_path)

    found = [ExchangeLine(seq=f["seq"], replay_id="", event_ns=f["event_ns"], kind=f["kind"], fields=f) for f in lines(tmp_path)]
    (interest,) = [line for line in found if line.kind == "interest"]
    debit_usd = again.paper.state.cash_usd + interest.number("amount")
    assert debit_usd < 0
    assert interest.number("amount") == (-debit_usd * 700 / 10_000 / 360).quantize(Decimal("0.01"), rounding=ROUND_CEILING)
    assert 100_000 + sum(map(cash_change_usd, found)) == again.paper.state.cash_usd == bench.paper.state.cash_usd
    again.kill()
    with pytest.raises(BadSetting):
        Bench(TICKS, Rules(), folder=tmp_path)


def test_a_log_tells_the_account_to_the_cent(tmp_path):
    """Cash is the opening cash, less side x qty x price of the fills, less fees, plus dividends; positions are the sums of the fills."""
    bench = run(tmp_path)

    found = lines(tmp_path)
    fills = [line for line in found if line["kind"] == "fill"]
    signs = {"buy": 1, "sell": -1}
    cash = Decimal(next(line["cash"] for line in found if line["kind"] == "pass"))
    cash -= sum(signs[f["side"]] * Decimal(f["qty"]) * Decimal(f["price"]) for f in fills)
    cash -= sum(Decimal(line["amount"]) for line in found if line["kind"] == "fee")
    cash += sum(Decimal(line["amount"]) for line in found if line["kind"] == "dividend")
    assert cash == bench.paper.state.cash_usd == Decimal([line["cash"] for line in found if line["kind"] == "watermark"][-1])
    for symbol in (KO, PEP):
        qty = sum(signs[f["side"]] * Decimal(f["qty"]) for f in fills if f["symbol"] == symbol)
        assert qty == bench.paper.state.holdings[symbol].qty == Decimal([f for f in fills if f["symbol"] == symbol][-1]["position_qty"])
    assert len({f["execution_id"] for f in fills}) == len(fills) > 4
    assert [line["seq"] for line in found] == list(range(len(found)))
    assert {"pass", "watermark", "request", "order", "fill", "cancel", "replace", "reject", "dividend", "directive"} <= {
        line["kind"] for line in found
    }


@pytest.mark.parametrize("killed_after", [(1,), (2,), (3,), (4,), (9,), (1, 2, 3, 4, 5)])
def test_a_killed_exchange_goes_on_as_if_nothing_had_happened(tmp_path, killed_after):
    whole, cut = run(tmp_path / "whole"), run(tmp_path / "cut", killed_after=killed_after)

    assert cut.paper.state == whole.paper.state
    assert cut.paper.taken == whole.paper.taken == 2  # the next directive gets an id of its own
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_a_kill_in_the_midst_of_a_bar_touches_the_account_once(tmp_path):
    """The rows of the bar are played again; what they filled is there already, and is not written twice."""
    bench = Bench(TICKS, COSTS, folder=tmp_path / "cut")
    bench.play(1)
    act(bench, 1)
    bench.paper.advance(TICKS, bench.paper.place + 5)  # some executions, no watermark
    filled = bench.record("a").order.filled_qty
    assert 0 < filled < 12

    bench.kill()
    bench = Bench(TICKS, COSTS, folder=tmp_path / "cut")
    assert bench.record("a").order.filled_qty == filled
    bench.play(2)
    whole = Bench(TICKS, COSTS, folder=tmp_path / "whole")
    whole.play(1)
    act(whole, 1)
    whole.play(2, block=5)

    assert bench.paper.state == whole.paper.state
    assert [line["execution_id"] for line in lines(tmp_path / "cut") if line["kind"] == "fill"] == [
        line["execution_id"] for line in lines(tmp_path / "whole") if line["kind"] == "fill"
    ]


def unfinished(folder):
    """An exchange that goes on from a log whose last line came on the way to a watermark that was never reached."""
    bench = Bench(TICKS, COSTS, folder=folder)
    bench.paper.direct(planned({"at": "2024-07-01T13:31:59Z", "halt": {"symbol": "PEP"}}, "late", SYMBOLS))  # after the minute's last tick
    bench.play(1)
    bench.order("a")
    bench.play(2)
    bench.kill()
    path = folder / LOG_FILE
    content = path.read_bytes()
    path.write_bytes(content[: content.rstrip().rindex(b"\n") + 1])
    bench = Bench(TICKS, COSTS, folder=folder)
    assert [line["kind"] for line in bench.log.expected] == ["directive"]
    return bench


def sound(folder):
    found = lines(folder)
    return [line["seq"] for line in found] == list(range(len(found)))


def test_what_was_left_unfinished_is_made_again_by_the_replay(tmp_path):
    bench = unfinished(tmp_path)
    bench.play(2)
    assert [line["kind"] for line in lines(tmp_path)][-2:] == ["directive", "watermark"]
    assert sound(tmp_path)


def test_a_request_strikes_out_what_was_left_unfinished(tmp_path):
    bench = unfinished(tmp_path)
    bench.order("b", symbol=PEP)
    assert [line["kind"] for line in lines(tmp_path)][-2:] == ["request", "order"]
    bench.play(2)
    assert [line["kind"] for line in lines(tmp_path)][-2:] == ["directive", "watermark"]
    assert sound(tmp_path)


def test_a_new_pass_strikes_out_what_was_left_unfinished(tmp_path):
    bench = unfinished(tmp_path)
    bench.paper.begin("seek", place=0, now_ns=OPEN_NS - 1, header={"number": 1, "first": 0, "digest": "d"})
    bench.play(1)
    assert [line["kind"] for line in lines(tmp_path)][-2:] == ["pass", "watermark"]
    assert sound(tmp_path)


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_torn_end_is_made_whole_by_going_on(tmp_path, cut):
    """Wherever a stop tore the file: the lines before are taken up, and the run ends where it would have."""
    bench = Bench(TICKS, COSTS, folder=tmp_path / "cut")
    for minute in (1, 2):
        bench.play(minute)
        act(bench, minute)
    bench.kill()
    path = tmp_path / "cut" / LOG_FILE
    content = path.read_bytes()
    last = content.rindex(b'"kind":"watermark"')  # what came after it, or a part of it, is lost
    path.write_bytes(content[: max(len(content) - 97 * cut, last)])

    bench = Bench(TICKS, COSTS, folder=tmp_path / "cut")
    for name in ("far", "far 2", "too much"):  # a client asks what became of its orders, and sends again what is not there
        if bench.record(name) is None and name == "far":
            act(bench, 2)
    bench.play(3)
    found = lines(tmp_path / "cut")
    assert [line["seq"] for line in found] == list(range(len(found)))
    assert found[-1]["kind"] == "watermark"
    assert bench.record("a").order.filled_qty == 12


def test_answers_are_on_disk_before_they_are_told(tmp_path):
    bench = Bench(TICKS, folder=tmp_path)
    told = []
    bench.paper.on_update = lambda updates: told.extend((u.event, len(lines(tmp_path))) for u in updates)
    bench.play(1)
    before = len(lines(tmp_path))
    bench.order("a")
    assert told == [("new", before + 2)]  # the request and the order


@pytest.mark.parametrize(
    ("rules", "ticks", "message"),
    [
        (Rules(), TICKS, "line 1: the log holds"),  # other rules are in the first line
        (FREE, steady(4), "the data and options give"),
    ],
)
def test_other_data_or_options_are_refused(tmp_path, rules, ticks, message):
    run(tmp_path, rules=FREE)
    with pytest.raises(BadSetting, match=message):
        Bench(ticks, rules, folder=tmp_path).play(10)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"nonsense\n", "line 1: no JSON"), (b'{"seq":1,"kind":"pass"}\n', "line 1: found"), (b"[]\n", "line 1: found")],
)
def test_a_file_that_is_no_log_is_refused(tmp_path, content, message):
    (tmp_path / LOG_FILE).write_bytes(content)
    with pytest.raises(BadSetting, match=message):
        ExchangeLog(tmp_path)


def test_another_replay_is_refused(tmp_path):
    run(tmp_path)
    log = ExchangeLog(tmp_path)
    with pytest.raises(BadSetting, match="holds replay replay, the data and options make another"):
        log.begin("another")


def test_two_recyclers_do_not_share_a_log(tmp_path):
    first = ExchangeLog(tmp_path)
    with pytest.raises(BadSetting, match="is in use: another recycler"):
        ExchangeLog(tmp_path)
    first.close()
    ExchangeLog(tmp_path).close()


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSetting, match="state-dir"):
        ExchangeLog(tmp_path / "file")


def test_times_of_lines_never_go_back(tmp_path):
    run(tmp_path)
    times = [line["event_ns"] for line in lines(tmp_path)]
    assert times == sorted(times)
    assert times[0] == OPEN_NS - 1


_WRITER = """
import resource, sys
from pathlib import Path
from tandem.recycler.exchange_log import ExchangeLog

log = ExchangeLog(Path(sys.argv[1]))
log.append({"kind": "pass", "replay_id": "r", "number": 1, "first": 0})
log.sync()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
log.append({"kind": "order", "text": "x" * 100})
try:
    log.sync()
finally:
    print("told", flush=True)
"""


def test_who_cannot_write_its_log_ends_at_once_and_tells_nobody_of_what_is_not_in_it(tmp_path: Path) -> None:
    """An order that was told of and that a restart does not know would be worse than no exchange; a torn line is cut off."""
    done = subprocess.run([sys.executable, "-c", _WRITER, str(tmp_path)], capture_output=True, text=True, timeout=180, check=False)
    assert (done.returncode, done.stdout) == (os.EX_IOERR, "")
    assert "File too large" in done.stderr
    assert "exchange.jsonl" in done.stderr
    ExchangeLog(tmp_path).close()
    assert len((tmp_path / LOG_FILE).read_bytes().splitlines()) == 1
