"""`python -m chaos --seeds N --first-seed K --data FILE`: replays under faults, seed by seed, and a report. Exit 1: a violation."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from chaos.launch import Launcher
from chaos.market import ROOT, ReplayPlan, closing, replay_plan
from chaos.models import Models, models
from chaos.run import Outcome, SeedRun
from chaos.schedule import Fault, schedule
from chaos.servers import Servers
from chaos.ways import ways
from tandem.domain.errors import Permanent, TandemError
from tandem.local.signals import interrupt_on_signals

_BARS = 60


def main(arguments: list[str]) -> int:
    """Run the seeds; the exit code."""
    options = options_of(arguments)
    folder = options.report.parent
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="tandem-chaos-"))
    home.chmod(0o711)  # as root, Postgres runs as `nobody`
    interrupt_on_signals()
    try:
        plan = replay_plan(
            options.data,
            folder / "data",
            bars=options.bars,
            sectors=tuple(options.sector),
            pairs=tuple(options.pair),
            replay_from=options.replay_from,
        )
        if options.flat_by_close:
            plan = closing(plan, folder / "config")
        _say(f"{plan.data.name}: {len(plan.watermark_ns) - 1} bars of {plan.bar}, pairs {', '.join(spec.pair for spec in plan.pairs)}")
        made = models(plan, folder / "models")
        return _run(options, plan, made, home)
    except TandemError as error:
        _say(f"chaos: {error}")
        return 2
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(options: argparse.Namespace, plan: ReplayPlan, made: Models, home: Path) -> int:
    servers, logs = Servers(home), options.report.parent / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    launcher = Launcher(home, cold=options.cold)
    try:
        servers.start()
        run = SeedRun(servers, launcher, plan, made, home / "seeds")
        clean = _one(run, "clean", (), None, logs=logs, options=options)
        if clean.violated:
            _write(options, plan, [clean])
            raise Permanent("the run without a fault breaks invariants: no seed would tell anything")
        kinds = [way.kind for name, way in ways().items() if not options.only or name in options.only]
        outcomes = [clean]
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            faults = schedule(seed, len(plan.watermark_ns) - 1, kinds)
            outcomes.append(_one(run, f"seed-{seed}", faults, clean, logs=logs, options=options))
            _write(options, plan, outcomes)
        _write(options, plan, outcomes)
    finally:
        servers.stop()
    return _summary(outcomes)


def again(options: argparse.Namespace, name: str) -> str:
    """The command that plays a run once more: its seed over the same span of the same data, as those decide what a seed means."""
    more = [f"--{flag.replace('_', '-')}" for flag in ("flat_by_close", "cold") if getattr(options, flag)]
    more += [f"--replay-from {options.replay_from}"] if options.replay_from else []
    more += [f"--bars {options.bars}"] if options.bars != _BARS else []
    more += [f"--{flag} {value}" for flag in ("sector", "pair", "only") for value in getattr(options, flag)]
    seed = f"SEEDS=1 FIRST_SEED={name.removeprefix('seed-')}" if name.startswith("seed-") else "SEEDS=0"
    data = f" DATA={options.data}" if options.data else ""
    return f"make chaos {seed}{data}" + (f' CHAOS_ARGS="{" ".join(more)}"' if more else "")


def _one(run: SeedRun, name: str, faults: tuple[Fault, ...], clean: Outcome | None, *, logs: Path, options: argparse.Namespace) -> Outcome:
    began_s, home = time.monotonic(), run.folder
    _say(f"{name}:" + "".join(f"\n  {fault.text()}" for fault in faults))
    outcome = run.play(name, faults, clean)
    checked, took_s = sum(tally.checked for tally in outcome.tallies), time.monotonic() - began_s
    _say(f"  {took_s:.1f} s {outcome.seconds}, {checked:,} cases, {len(outcome.violated)} violated, {outcome.deaths or ''}")
    for tally in outcome.violated:
        _say("".join(f"  VIOLATED {tally.name}: {case}\n" for case in tally.examples).rstrip())
    if outcome.violated or options.keep:
        shutil.copytree(home / name, logs / name, dirs_exist_ok=True)
        _say(f"  logs in {logs / name}; again: {again(options, name)}")
    shutil.rmtree(home / name)
    return outcome


def _write(options: argparse.Namespace, plan: ReplayPlan, outcomes: list[Outcome]) -> None:
    document = {
        "commit": _commit(),
        "data": {"file": plan.data.name, "digest": plan.digest, "bar": plan.bar, "bars": len(plan.watermark_ns) - 1},
        "seeds": {outcome.name: outcome.document() for outcome in outcomes},
        "invariants": totals(outcomes),
    }
    options.report.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def totals(outcomes: list[Outcome]) -> dict[str, dict[str, int]]:
    """Of each invariant: cases looked at, cases that broke it, runs in which it was looked at and in which it was broken."""
    found: dict[str, dict[str, int]] = {}
    for tally in (tally for outcome in outcomes for tally in outcome.tallies):
        row = found.setdefault(tally.name, {"checked": 0, "violated": 0, "runs": 0, "runs_violated": 0})
        row["checked"] += tally.checked
        row["violated"] += tally.violated
        row["runs"] += tally.checked > 0
        row["runs_violated"] += not tally.holds
    return found


def _summary(outcomes: list[Outcome]) -> int:
    """A table of the invariants; 1 if one was broken."""
    table = totals(outcomes)
    width = max(map(len, table))
    _say(f"{'invariant':<{width}}  {'checked':>9}  {'violated':>8}  runs")
    for name, row in table.items():
        _say(f"{name:<{width}}  {row['checked']:>9,}  {row['violated']:>8,}  {row['runs_violated']} of {row['runs']} broken")
    broken = [outcome.name for outcome in outcomes if outcome.violated]
    _say(f"{len(outcomes) - 1} seeds; broken: {', '.join(broken) or 'none'}")
    return int(bool(broken))


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="Parquet of trades, bars or closes; without it 20 stocks, daily")
    parser.add_argument("--bars", type=int, default=_BARS, help="of the replay")
    parser.add_argument("--replay-from", default="", help="date or time (RFC 3339); what is before it is trained on. For half days, say")
    parser.add_argument(
        "--flat-by-close", action="store_true", help="session_end policy close: nothing is held over night. Bars below a day"
    )
    parser.add_argument("--sector", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--pair", action="append", default=[], help="A-B, besides those declared; none are made up then. May be repeated")
    parser.add_argument("--only", action="append", default=[], help="only this kind of fault; may be repeated")
    parser.add_argument("--report", type=Path, default=ROOT / "var" / "chaos" / "report.json")
    parser.add_argument("--keep", action="store_true", help="keep the logs of seeds that break nothing, too")
    parser.add_argument("--cold", action="store_true", help="every service a fresh interpreter")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
