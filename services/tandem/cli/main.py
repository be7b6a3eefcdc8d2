"""The command `tandem`: a table of sub-commands, each imported only when it is called, so that `tandem --help` answers at once.

Decides how errors end a command: one line on stderr, where it helps a second one with the next step, and exit code 1; a wrong use of the
command exits with 2. Shells complete it: `tandem --install-completion`.
"""

from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from tandem.cli import examples
from tandem.cli.output import print_error
from tandem.domain.errors import TandemError


class Part(NamedTuple):
    """A sub-command: the module that holds it, the function or Typer app in it, and its line in the help."""

    module: str
    attribute: str
    help: str
    panel: str


_RUN, _DECLARE, _LOOK, _RESEARCH, _PARTS = "Run the platform", "Declare", "Look", "Research", "Single parts"
PARTS: dict[str, Part] = {
    "demo": Part("tandem.cli.demo", "demo", "Train, then replay real data through the whole platform; prints a summary.", _RUN),
    "up": Part("tandem.cli.platform", "up", "Start the platform on this machine.", _RUN),
    "down": Part("tandem.cli.platform", "down", "Stop it.", _RUN),
    "status": Part("tandem.cli.platform", "status", "What runs, where, and whether it is ready.", _RUN),
    "top": Part("tandem.cli.top", "top", "Processes, lag, pairs, positions, equity and alerts on one screen.", _RUN),
    "doctor": Part("tandem.cli.doctor", "doctor", "What is missing or wrong on this machine, and what to do.", _RUN),
    "backup": Part("tandem.cli.backup", "backup", "Save ledger, model registry and Kafka topics to a folder.", _RUN),
    "restore": Part("tandem.cli.restore", "restore", "Bring a backup back into an empty platform, and verify the ledger.", _RUN),
    "apply": Part("tandem.cli.apply", "apply", "Declare pairs and accounts from manifests (files, folders, standard input).", _DECLARE),
    "delete": Part("tandem.cli.apply", "delete", "Withdraw a declared pair.", _DECLARE),
    "symbols": Part("tandem.cli.symbols", "app", "Symbols of the sectors: show, add, remove, switch presets.", _DECLARE),
    "sectors": Part("tandem.cli.sectors", "app", "Sectors: show them, choose the active ones.", _DECLARE),
    "pairs": Part("tandem.cli.book", "pairs", "Declared pairs with their state and position.", _LOOK),
    "orders": Part("tandem.cli.book", "orders", "Orders, newest first.", _LOOK),
    "positions": Part("tandem.cli.book", "positions", "Positions of the book.", _LOOK),
    "forecast": Part("tandem.cli.book", "forecast", "The current forecast of a pair, from its sector's forecaster.", _LOOK),
    "models": Part("tandem.cli.models", "app", "Rankings, trends, training history, variance stability, decisions.", _LOOK),
    "verify": Part("tandem.cli.verify_run", "verify", "Compare Kafka, ledger and exchange of a run, invariant by invariant.", _LOOK),
    "audit": Part(
        "tandem.cli.audit", "audit", "How an order came about, from the ticks to the ledger; whether the record is whole.", _LOOK
    ),
    "export": Part("tandem.cli.export", "export_tables", "Tables of the ledger, the recorder and the trainer as CSV or Parquet.", _LOOK),
    "rollout": Part("tandem.cli.rollout", "app", "Rollouts of new model versions: start, watch, promote, roll back.", _RUN),
    "deadletter": Part("tandem.cli.deadletter", "app", "What could not be used and why; give it a second try.", _LOOK),
    "download": Part("tandem.cli.download", "download", "History through alpaca-py into Parquet and Postgres; resumes.", _RESEARCH),
    "screen": Part("tandem.cli.screen", "screen", "Test every pair of a universe, choose, and see what persists.", _RESEARCH),
    "backtest": Part("tandem.cli.backtest", "backtest", "Train and trade recorded data window by window; writes a tear sheet.", _RESEARCH),
    "research": Part("tandem.research.cli", "app", "Forecasts of volatility against their baselines: paper, spx, spread.", _RESEARCH),
    "recycler": Part("tandem.recycler.cli", "app", "Serve recorded data as if it were Alpaca, with a paper exchange.", _PARTS),
    "train": Part("tandem.cli.train", "train", "Train a sector's model and register it.", _PARTS),
    "tune": Part("tandem.trainer.tuning_cli", "tune", "Search a sector's hyperparameters, alone or with other workers.", _PARTS),
    "rebaseline": Part("tandem.trainer.rebaseline_cli", "rebaseline", "The pre-market run: candidates for sectors that need one.", _PARTS),
}


def command_of(name: str) -> Any:
    """The click command of a part. Exits with 1 and says what is missing when it cannot be imported."""
    part = PARTS[name]
    try:
        found = getattr(import_module(part.module), part.attribute)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.split(".")[0] == "tandem":
            reason = f"this installation has no {missing}"
        else:
            reason = f"the package {missing!r} is not installed; `make setup` installs everything, or pip: tandem-trading[train,local]"
        typer.echo(f"error: tandem {name} cannot run: {reason}", err=True)
        raise typer.Exit(1) from error
    if isinstance(found, typer.Typer):
        return examples.told(f"tandem {name}", get_command(found))
    single = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    single.command(name)(found)
    return examples.told(f"tandem {name}", get_command(single))


class _LazyCommand(TyperCommand):
    """Stands for a part in the help; becomes the part when it is called."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return command_of(str(self.name)).make_context(info_name, args, parent=parent, **extra)


class _Parts(TyperGroup):
    """The group of all parts."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, part in PARTS.items():
            self.add_command(_LazyCommand(name, callback=None, help=part.help, rich_help_panel=part.panel))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TandemError as error:
            print_error(error)
            raise typer.Exit(1) from error


# Locals are never shown with a traceback: they may hold a password.
app = typer.Typer(cls=_Parts, no_args_is_help=True, pretty_exceptions_show_locals=False, name="tandem")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415  (0.05 s, for this line only)

        typer.echo(f"tandem {version('tandem-trading')}")
        raise typer.Exit


@app.callback()
def tandem(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Tandem serves GARCH-GRU models to live pairs trading.

    Start with `tandem demo`, or with `tandem up` and `tandem apply -f config/pairs`.
    """


if __name__ == "__main__":
    app()
