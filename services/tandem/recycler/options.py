"""What a recycler is started with. Checked once; nothing below reads the environment or the command line."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from tandem.adapters.calendar import bar_ns
from tandem.domain.errors import BadSetting
from tandem.flow.replay import Mode

MAX_SPEED = float("inf")  # no pacing


@dataclass(frozen=True, slots=True, kw_only=True)
class RecyclerOptions:
    """All options, with the defaults of the command. Raises BadSetting for a combination that makes no sense."""

    data: Path
    port: int
    fees: Path
    host: str = "127.0.0.1"
    mode: Mode = Mode.SINGLE_PASS
    from_ns: int | None = None
    to_ns: int | None = None  # exclusive
    speed: float = 1.0  # times real time
    bar: str = "1min"
    start_on_subscribe: bool = False
    hold: bool = False
    lockstep: bool = False
    participants: tuple[str, ...] = ()
    ack_limit_s: float = 30.0
    half_spread_bps: Decimal = Decimal(1)
    cash_usd: Decimal = Decimal(1_000_000)
    strict: bool = True
    key: str = ""  # "": any key that is not empty
    secret: str = ""
    label: str = ""  # part of the replay id
    connections_max: int = 16  # of each stream
    auth_limit_s: float = 10.0  # Alpaca's, until a client must have authenticated

    def __post_init__(self) -> None:
        bar_ns(self.bar)
        if not self.speed > 0:
            raise BadSetting(f"speed {self.speed}: must be above 0, or max")
        if self.cash_usd <= 0:
            raise BadSetting(f"cash {self.cash_usd}: must be above 0")
        if self.ack_limit_s <= 0:
            raise BadSetting(f"ack-limit-s {self.ack_limit_s}: must be above 0")
        if bool(self.key) != bool(self.secret):
            raise BadSetting("key and secret: give both or neither")
        if self.hold and self.start_on_subscribe:
            raise BadSetting("hold and start-on-subscribe: give one of them")
        if self.mode is Mode.DATE_RANGE and self.from_ns is None and self.to_ns is None:
            raise BadSetting("mode date_range: give from, to or both")
        if self.from_ns is not None and self.to_ns is not None and self.from_ns >= self.to_ns:
            raise BadSetting("from and to: the range is empty")
        if self.participants and not self.lockstep:
            raise BadSetting("participants: nobody is waited for without lockstep")
