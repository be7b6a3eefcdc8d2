"""The kinds of fault of the machine under a process: a full disk, a wrong clock, too little processor time."""

from chaos.faults import Begin, Way
from chaos.play import End
from chaos.schedule import Fault, FaultKind
from chaos.stage import Stage

_BLOCK = 4_096


def _disk_full(stage: Stage, fault: Fault) -> End:
    """No file of it grows beyond some blocks: writes fail as on a full disk (EFBIG in ENOSPC's place), until there is room again.

    A limit of the process (RLIMIT_FSIZE), which needs no mount and no root. Whoever starts meanwhile finds the disk as full.
    """
    stage.limit_files(fault.target, fault.amount * _BLOCK)
    return lambda: stage.limit_files(fault.target, None)


def _wrong_clock(sign: int) -> Begin:
    """The clock jumps, stays off for a while, also over restarts, and is set right by one step, as NTP does it."""

    def begin(stage: Stage, fault: Fault) -> End:
        name = stage.named(fault.target)
        stage.set_clock(name, sign * fault.amount / 1_000)
        return lambda: stage.set_clock(name, 0)

    return begin


def _slow_model(stage: Stage, fault: Fault) -> End:
    """The forecaster gets `amount` hundredths of the processor time that it would have."""
    name = stage.named(fault.target)
    stage.throttle(name, fault.amount / 100)
    return lambda: stage.throttle(name, None)


_OFF_MS = (500, 5_000)
_CLOCKS = ("ingestor", "forecaster", "portfolio", "recorder", "recycler")
MACHINE_WAYS: tuple[Way, ...] = (
    Way(FaultKind(name="clock_ahead", number=20, targets=_CLOCKS, lasts_ms=(300, 3_000), amount=_OFF_MS), _wrong_clock(1)),
    Way(FaultKind(name="clock_behind", number=20, targets=_CLOCKS, lasts_ms=(300, 3_000), amount=_OFF_MS), _wrong_clock(-1)),
    Way(FaultKind(name="slow_model", number=22, targets=("forecaster",), lasts_ms=(500, 3_000), amount=(5, 40)), _slow_model),
    Way(
        FaultKind(name="disk_full", number=25, targets=("recycler", "postgres", "kafka"), lasts_ms=(300, 2_000), amount=(0, 64)),
        _disk_full,
    ),
)
