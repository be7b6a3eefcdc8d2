"""Which command and environment each of our services is started with. Called by platform.py, `tandem up` and the demo."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tandem.local.endpoints import Endpoints, Ports, Service
from tandem.local.probes import HOST

# One process a core is enough parallelism here; a BLAS that starts a thread for each core only makes them wait for each other.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
RECYCLED = "recycled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Makes the services of one platform. What all share is said once, here."""

    endpoints: Endpoints
    ports: Ports
    home: Path
    config_dir: Path
    bar: str
    source: str = RECYCLED
    api_token: str = ""
    more: Mapping[str, str] = field(default_factory=dict)  # further TANDEM_* variables for all

    def settings(self, port: int, **fields: str) -> dict[str, str]:
        """The environment of one service. fields: names of Settings' fields, e.g. capital_usd="100000"."""
        return {
            **_ONE_THREAD,
            **self.endpoints.environment(),
            "TANDEM_HOME": str(self.home),
            "TANDEM_CONFIG_DIR": str(self.config_dir),
            "TANDEM_BAR": self.bar,
            "TANDEM_SOURCE": self.source,
            "TANDEM_API_TOKEN": self.api_token,
            "TANDEM_HOST": HOST,
            "TANDEM_PORT": str(port),
            **self._alpaca(),
            **self.more,
            **{f"TANDEM_{name.upper()}": value for name, value in fields.items()},
        }

    def _alpaca(self) -> dict[str, str]:
        """url_overrides that put the recycler in Alpaca's place; with a live source the caller's own keys and URLs are inherited."""
        if self.source != RECYCLED:
            return {}
        return {
            "TANDEM_ALPACA_DATA_URL": f"ws://{HOST}:{self.ports.recycler}/v2/iex",
            "TANDEM_ALPACA_STREAM_URL": f"ws://{HOST}:{self.ports.recycler}/stream",
            "TANDEM_ALPACA_API_URL": f"http://{HOST}:{self.ports.recycler}",
            "TANDEM_ALPACA_FEED": "iex",
            "TANDEM_ALPACA_KEY_ID": RECYCLED,
            "TANDEM_ALPACA_SECRET_KEY": RECYCLED,
        }

    def recycler(self, options: Sequence[str], **fields: str) -> Service:
        """The recycler with its own options, e.g. ("--data", file, "--speed", "max")."""
        return self._service("recycler", self.ports.recycler, fields, options)

    def ingestor(self, **fields: str) -> Service:
        """The ingestor."""
        return self._service("ingestor", self.ports.ingestor, fields)

    def recorder(self, **fields: str) -> Service:
        """The recorder."""
        return self._service("recorder", self.ports.recorder, fields)

    def portfolio(self, **fields: str) -> Service:
        """The portfolio of the one account."""
        return self._service("portfolio", self.ports.portfolio, fields)

    def dashboard(self, **fields: str) -> Service:
        """The page for people. Its token drops the portfolio's cache and does nothing else: who changes what is traded types it."""
        url = f"http://{HOST}:{self.ports.portfolio}"
        service = self._service("dashboard", self.ports.dashboard, {"portfolio_url": url, **fields})
        return Service(name=service.name, argv=service.argv, env=service.env, ready_path="/_stcore/health")

    def forecaster(self, sector: str, version: str, index: int, **fields: str) -> Service:
        """The forecaster of a sector under a pinned registry version, at the port of number index."""
        name = f"forecaster-{sector}-v{version}"
        service = self._service("forecaster", self.ports.forecaster(index), {"sector": sector, "model_version": version, **fields})
        # BentoML wipes the folder of its series at start, so that two processes must not share one.
        bento = {"BENTOML_HOME": str(self.home / "bentoml" / name), "BENTOML_DO_NOT_TRACK": "True"}
        return Service(name=name, argv=service.argv, env=service.env | bento)

    def _service(self, name: str, port: int, fields: Mapping[str, str], options: Sequence[str] = ()) -> Service:
        argv = (sys.executable, "-m", f"tandem.{name}.main", *options)
        return Service(name=name, argv=argv, env=self.settings(port, **fields))
