"""Where everything of one platform listens, and the environment that tells the services so."""

from dataclasses import dataclass

PORT_BASE = 28_000  # below the ephemeral range of Linux (32768), above what is registered for common servers
_FORECASTERS_FIRST, _FORECASTERS_MAX = 20, 40


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports at fixed distances from a base."""

    base: int = PORT_BASE

    @property
    def postgres(self) -> int:
        """PostgreSQL."""
        return self.base

    @property
    def redis(self) -> int:
        """Redis."""
        return self.base + 1

    @property
    def kafka(self) -> int:
        """Kafka's clients."""
        return self.base + 2

    @property
    def kafka_controller(self) -> int:
        """Kafka's own controller."""
        return self.base + 3

    @property
    def mlflow(self) -> int:
        """MLflow's HTTP."""
        return self.base + 4

    @property
    def recycler(self) -> int:
        """Market data, trade updates and REST of the recycler."""
        return self.base + 10

    @property
    def ingestor(self) -> int:
        """The ingestor's HTTP."""
        return self.base + 11

    @property
    def recorder(self) -> int:
        """The recorder's HTTP."""
        return self.base + 12

    @property
    def portfolio(self) -> int:
        """The portfolio's API."""
        return self.base + 13

    @property
    def dashboard(self) -> int:
        """The page for people."""
        return self.base + 14

    def forecaster(self, index: int) -> int:
        """The HTTP of the forecaster started as number index."""
        if not 0 <= index < _FORECASTERS_MAX:
            raise ValueError(f"forecaster number {index}, must be 0 to {_FORECASTERS_MAX - 1}")
        return self.base + _FORECASTERS_FIRST + index


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """How clients connect to the four servers."""

    kafka: str  # host:port[,host:port]
    postgres: str  # postgresql://user:password@host:port/tandem
    redis: str
    mlflow: str

    def environment(self) -> dict[str, str]:
        """The variables to export for a process that is to use these servers."""
        return {
            "TANDEM_KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "TANDEM_POSTGRES_URL": self.postgres,
            "TANDEM_REDIS_URL": self.redis,
            "MLFLOW_TRACKING_URI": self.mlflow,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service to start as a child."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    ready_path: str = "/readyz"

    @property
    def port(self) -> int:
        """The port of its HTTP."""
        return int(self.env["TANDEM_PORT"])
