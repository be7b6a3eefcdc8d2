"""An example or two of every command: the end of its `--help` and of its section in docs/reference/cli.md.

Whether its options exist is a test. Called by main.py and command_page.py.
"""

from collections.abc import Iterator
from typing import Any

_CLOSES = "var/data/us_stocks_20_daily.parquet"  # what `make demo` leaves
EXAMPLES: dict[str, tuple[str, ...]] = {
    "tandem demo": (
        "tandem demo --sector energy --keep",
        "tandem demo --data trades.parquet --bar 1min --pair IBM-SPY --report report.json",
    ),
    "tandem up": (
        "tandem up --home var/demo --from 2017-01-01 --detach",
        "tandem up --data trades.parquet --bar 1min --speed 60",
    ),
    "tandem down": ("tandem down --home var/demo",),
    "tandem status": ("tandem status --home var/demo", "tandem status --json"),
    "tandem top": ("tandem top --every 5", "tandem top --once --home var/demo"),
    "tandem doctor": ("tandem doctor",),
    "tandem backup": ("tandem backup /backup/2026-11-20",),
    "tandem restore": (
        "tandem restore /backup/2026-11-20 --home var/new",
        "tandem restore /backup/2026-11-20 --replace",
    ),
    "tandem rollout abort": ('tandem rollout abort energy --reason "trained on the wrong span"',),
    "tandem rollout promote": ('tandem rollout promote energy --reason "agreed on Monday"',),
    "tandem rollout rollback": ('tandem rollout rollback energy --reason "loses money"',),
    "tandem rollout run": ("tandem rollout run --home var/own",),
    "tandem rollout start": ("tandem rollout start energy --version 7",),
    "tandem rollout status": ("tandem rollout status", "tandem rollout status energy --json"),
    "tandem apply": ("tandem apply -f var/pair.yaml --dry-run", "tandem apply -f config/pairs"),
    "tandem delete": ("tandem delete pair KO-PEP",),
    "tandem symbols add": ("tandem symbols add GOOGL --sector technology",),
    "tandem symbols pairs": ("tandem symbols pairs",),
    "tandem symbols preset": ("tandem symbols preset all",),
    "tandem symbols remove": ("tandem symbols remove GOOGL",),
    "tandem symbols status": (f"tandem symbols status --data {_CLOSES}",),
    "tandem symbols testing": ("tandem symbols testing",),
    "tandem sectors config": ("tandem sectors config",),
    "tandem sectors set-active": ("tandem sectors set-active energy consumer",),
    "tandem sectors summary": ("tandem sectors summary",),
    "tandem sectors symbols": ("tandem sectors symbols energy",),
    "tandem pairs": ("tandem pairs --home var/demo",),
    "tandem orders": ("tandem orders --pair KO-PEP --limit 5",),
    "tandem positions": ("tandem positions --json",),
    "tandem forecast": ("tandem forecast KO-PEP",),
    "tandem models decisions": ("tandem models decisions --sector energy --limit 5",),
    "tandem models history": ("tandem models history --pair KO-PEP",),
    "tandem models rankings": ("tandem models rankings --sector energy --day 2019-06-28",),
    "tandem models stability": ("tandem models stability --sector energy",),
    "tandem models trends": ("tandem models trends",),
    "tandem verify": (
        "tandem verify --home var/demo --running",
        "tandem verify --exchange-log STATE_DIR/exchange.jsonl --data FILE.parquet --from 2019-01-02 --to 2019-06-28",
    ),
    "tandem audit": ("tandem audit ORDER_ID", "tandem audit --check --expect HEAD"),
    "tandem export": ("tandem export fills attribution --format csv --out var/export",),
    "tandem deadletter list": ("tandem deadletter list --reason price_invalid",),
    "tandem deadletter replay": ("tandem deadletter replay --reason price_invalid --dry-run", "tandem deadletter replay 17 18"),
    "tandem deadletter show": ("tandem deadletter show 17",),
    "tandem download": (
        "tandem download --sector energy --from 2026-11-20 --to 2026-11-21 --timeframe trades --out var/trades",
        "tandem download KO PEP --from 2020-01-01 --timeframe 1d --postgres",
    ),
    "tandem screen": (f"tandem screen --data {_CLOSES} --to 2017-01-01 --out var/screen.parquet",),
    "tandem backtest": (f"tandem backtest --data {_CLOSES} --sector energy --policy declared --out var/backtest",),
    "tandem research gates": ("tandem research gates --out var/gates.json --replicates 200",),
    "tandem research volatility": (
        "tandem research volatility --protocol paper --out var/paper.json --quick",
        "tandem research volatility --protocol spx --data FILE.csv --test-from 2014-01-01 --test-to 2017-12-31 --out var/spx.json",
    ),
    "tandem recycler": (
        "tandem recycler --data trades.parquet",
        f"tandem recycler --data {_CLOSES} --bar 1d --speed max --start-on-subscribe",
    ),
    "tandem train": (
        f"tandem train energy --data {_CLOSES} --to 2017-01-01",
        f"tandem train --sector consumer --data {_CLOSES} --pair KO-PEP --pair KO-WMT --output var/bundle",
    ),
    "tandem tune": (f"tandem tune --sector energy --data {_CLOSES} --trials 40 --storage sqlite:///var/tune.db --out var/best.yaml",),
    "tandem rebaseline": ("tandem rebaseline --once --data postgres", f"tandem rebaseline --sector energy --data {_CLOSES}"),
}


def told(path: str, command: Any) -> Any:
    """The command, with its examples at the end of its help, and of the help of those below it."""
    for name, below in getattr(command, "commands", {}).items():
        told(f"{path} {name}", below)
    if examples := EXAMPLES.get(path):
        command.epilog = "\n\n".join(("Examples:" if len(examples) > 1 else "Example:", *examples))
    return command


def leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The commands that do something, with their paths."""
    below = getattr(command, "commands", {})
    for name, other in sorted(below.items()):
        yield from leaves(f"{path} {name}", other)
    if not below:
        yield path, command
