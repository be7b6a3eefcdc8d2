"""What a recycler is started with. Checked once; nothing below reads the environment or the command line."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from tandem.adapters.calendar import bar_ns
from tandem.adapters.synthetic_twin import Twin
from tandem.domain.errors import BadSetting
from tandem.flow.replay import Mode

MAX_SPEED = float("inf")  # no pacing


@dataclass(frozen=True, slots=True, kw_only=True)
class RecyclerOptions:
    """All options, with the defaults of the command. Raises BadSetting for a combination that makes no sense."""

    data: tuple[Path, ...]
    port: int
    fees: Path
    host: str = "127.0.0.1"
    mode: Mode = Mode.SINGLE_PASS
    from_ns: int | None = None
    to_ns: int | None = None  # exclusive
    speed: float = 1.0  # times real time
    bar: str = "1min"
    symbols: tuple[str, ...] = ()  # (): all of the recording
    session_only: bool = False  # nothing outside the regular sessions
    gaps: bool = False  # nights and weekends take their time, too
    twins: tuple[Twin, ...] = ()
    spool: Path | None = None  # folder of the sorted recording, None: the system's
    start_on_subscribe: bool = False
    hold: bool = False
    lockstep: bool = False
    participants: tuple[str, ...] = ()
    ack_limit_s: float = 30.0
    half_spread_bps: Decimal = Decimal(1)
    cash_usd: Decimal = Decimal(1_000_000)
    strict: bool = True
    participation: Decimal = Decimal(0)  # share of a trade's or quote's size that our orders may take, 0: any quantity fills on one
    slippage_bps: Decimal = Decimal(0)  # on orders without a limit, on top of the spread
    borrow_bps: Decimal = Decimal(0)  # a year, on what is short overnight
    hard_borrow_bps: Decimal = Decimal(0)  # the same for what is hard to borrow
    margin_bps: Decimal = Decimal(0)  # a year, on what cash is below 0 overnight
    rate_limit: int | None = None  # requests a minute to the trading API, 0: any number; None: Alpaca's 200, off at full speed
    script: Path | None = None  # directives
    state_dir: Path | None = None  # of the exchange's log
    key: str = ""  # "": any key that is not empty
    secret: str = ""
    label: str = ""  # part of the replay id
    faults: str = ""  # wire faults to begin with: a YAML file, or seed:N
    connections_max: int = 16  # of each stream
    symbols_max: int = 0  # that one client may follow in trades and quotes, 0: any number; Alpaca's free feed has 30
    send_limit_s: float = 0.0  # a client that takes nothing for so long is sent away, 0: it is waited for
    auth_limit_s: float = 10.0  # Alpaca's, until a client must have authenticated

    def __post_init__(self) -> None:
        bar_ns(self.bar)
        self._check_exchange()
        if not self.data:
            raise BadSetting("data: give at least one file")
        if self.connections_max < 1:
            raise BadSetting(f"connections-max {self.connections_max}: must be at least 1")
        if self.symbols_max < 0 or self.send_limit_s < 0:
            raise BadSetting("symbols-max and send-limit-s: must be 0 (no limit) or more")
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

    def _check_exchange(self) -> None:
        if not 0 <= self.participation <= 1:
            raise BadSetting(f"participation {self.participation}: must be 0 (any quantity) to 1 (the whole trade)")
        if not 0 <= self.slippage_bps < 10_000 or min(self.borrow_bps, self.hard_borrow_bps, self.margin_bps) < 0:
            raise BadSetting("slippage-bps, borrow-bps, hard-borrow-bps and margin-bps: must be 0 or more, slippage below 10000")
        if self.rate_limit is not None and self.rate_limit < 0:
            raise BadSetting(f"rate-limit {self.rate_limit}: must be 0 (any number) or more")
