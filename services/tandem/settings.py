"""Settings, read once by each composition root from the environment. Every field is one variable, TANDEM_<NAME>."""

from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tandem.adapters import secrets
from tandem.adapters.kafka_servers import KafkaSecurity, KafkaServers
from tandem.domain.errors import BadSetting


class Settings(BaseSettings):
    """Everything a service needs to find its servers. No default holds a credential of a real account."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", frozen=True, extra="ignore", populate_by_name=True)

    home: Path = Field(default=Path("var/tandem"), description="State of the embedded platform: data of its servers, logs, pids.")
    config_dir: Path = Field(default=Path("config"), description="Sectors, declared pairs and default parameters (YAML).")

    kafka_bootstrap_servers: str = Field(default="", description="host:port[,host:port]; empty: `tandem up` starts Kafka itself.")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="Encryption and credentials of Kafka; with SSL the broker's certificate and name are checked."
    )
    kafka_ca_file: str = Field(
        default="", description="Authority that signed the brokers' certificates: a PEM file or its text; empty: the machine's."
    )
    kafka_cert_file: str = Field(default="", description="Client certificate for Kafka, where it asks for one: a PEM file or its text.")
    kafka_key_file: SecretStr = Field(default=SecretStr(""), description="Its key: a PEM file or its text.")
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="How the user proves itself with SASL."
    )
    kafka_username: str = Field(default="", description="User of Kafka with SASL.")
    kafka_password: SecretStr = Field(default=SecretStr(""), description="Its password.")
    postgres_url: SecretStr = Field(default=SecretStr(""), description="postgresql://user:password@host:port/tandem")
    postgres_sslmode: Literal["", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="", description="TLS of PostgreSQL where its URL does not say; verify-full checks certificate and name."
    )
    postgres_ca_file: str = Field(default="", description="Authority that signed PostgreSQL's certificate: a PEM file or its text.")
    redis_url: SecretStr = Field(default=SecretStr(""), description="redis://host:port/0, with TLS rediss://host:port/0")
    redis_ca_file: str = Field(default="", description="Authority that signed Redis' certificate: a PEM file or its text; needs rediss://.")
    mlflow_tracking_uri: str = Field(
        default="", validation_alias="MLFLOW_TRACKING_URI", description="http://host:port of the MLflow server."
    )

    alpaca_key_id: SecretStr = Field(default=SecretStr(""), description="API key; any text for the recycler.")
    alpaca_secret_key: SecretStr = Field(default=SecretStr(""), description="API secret; any text for the recycler.")
    alpaca_data_url: str = Field(default="", description="url_override of the market-data stream, e.g. ws://127.0.0.1:8765/v2/iex.")
    alpaca_stream_url: str = Field(default="", description="url_override of trade updates, e.g. ws://127.0.0.1:8765/stream.")
    alpaca_api_url: str = Field(default="", description="url_override of the trading REST, e.g. http://127.0.0.1:8765.")
    alpaca_feed: str = Field(default="iex", description="iex or sip.")

    source: str = Field(default="recycled", description="live, paper or recycled: the label on every record.")
    bar: str = Field(default="1min", description="Bar length: 1min, 5min or 1d.")
    lateness_ms: int = Field(
        default=2000,
        ge=0,
        description="How long after its event a live tick may arrive; heartbeats close bars that much later.",
    )

    mute_s_max: float = Field(
        default=30,
        gt=0,
        description="Reconnect a live market-data stream that is silent for so long while the exchange is open.",
    )

    alpaca_history_url: str = Field(
        default="",
        description="url_override of the historical data REST; empty: Alpaca, or for a recycled source the host of TANDEM_ALPACA_DATA_URL.",
    )
    quotes: str = Field(default="", description="Sectors whose quotes are followed, comma-separated; * for all, empty for none.")
    overlap_s: float = Field(
        default=60, ge=0, description="After a gap, history of a live feed is asked again from so long before the last heartbeat."
    )
    fill_hours_max: float = Field(default=72, gt=0, description="The longest gap that is filled from history: a weekend.")
    audit_s: float = Field(
        default=60, ge=0, description="How often a live stream is compared with history while it looks healthy; 0: never."
    )
    verify_bars: bool = Field(
        default=False, description="Compare each bar of a replay with history before it closes: finds what a connection swallowed."
    )
    keep_ticks_days: float = Field(
        default=0, ge=0, description="How long Kafka keeps a sector's ticks, told when its topic is made; 0: for ever."
    )
    keep_bars_days: float = Field(default=0, ge=0, description="How long real bars and market events are kept; 0: for ever.")
    keep_scores_days: float = Field(default=0, ge=0, description="How long scores of real forecasts are kept; 0: for ever.")
    keep_replays_days: float = Field(
        default=0, ge=0, description="How long everything of a replay is kept after it was last recorded; 0: for ever."
    )
    stale_s: float = Field(default=300, gt=0, description="A symbol without a trade for so long, while the exchange is open, is stale.")

    host: str = Field(default="127.0.0.1", description="Address that a service's HTTP listens on.")
    port: int = Field(default=0, description="Port that a service's HTTP listens on.")
    advertised_host: str = Field(
        default="",
        validation_alias="POD_IP",
        description="Portfolio: address by which one that stands by passes calls on to this one; empty: TANDEM_HOST, unless that is all.",
    )
    api_token: SecretStr = Field(default=SecretStr(""), description="Bearer token for calls that change state; empty refuses them all.")
    log_level: str = Field(default="INFO", description="Least level that is logged: DEBUG, INFO, WARNING or ERROR.")

    sector: str = Field(default="", description="Forecaster: its sector.")
    model_version: str = Field(default="", description="Forecaster: its pinned registry version.")
    shards: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Forecaster: in how many parts its replicas share the sector's pairs; the same for all of them. 1: each has all pairs.",
    )
    account: str = Field(
        default="paper", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", description="Portfolio: the name of its TradingAccount."
    )
    namespace: str = Field(default="", description="Operator: the namespace that it watches.")
    identity: str = Field(default="", validation_alias="POD_NAME", description="Operator: its name on the Lease; the pod's.")
    forecaster_template: Path | None = Field(
        default=None, description="Operator: file with what the forecasters that it makes have in common."
    )
    webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="Operator: the secret that MLflow signs its webhook's deliveries with; empty: none are taken."
    )
    portfolio_url: str = Field(default="", description="Dashboard: http://host:port of the portfolio whose book it shows.")
    mlflow_public_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="Dashboard: http(s) address at which a reader's browser finds MLflow; empty: MLFLOW_TRACKING_URI.",
    )
    research_dir: Path = Field(default=Path("var"), description="Dashboard: where tear sheets and benchmark tables are looked for.")
    capital_usd: str = Field(default="1000000", description="Portfolio: equity that the book opens with, must equal the broker's.")
    reconcile_s: float = Field(
        default=15,
        ge=5,
        le=300,
        description="Portfolio: seconds between two comparisons of ledger and broker on a live feed. Each takes four requests of the 200 "
        "that Alpaca allows in a minute: at 5 that is 48; after 900 without one an alert fires.",
    )
    lease_s: float = Field(
        default=4,
        ge=3,
        le=8,
        description="Portfolio: a writer that has not renewed its lease for so many seconds is replaced by one that stands by. A "
        "renewal may take 3; noticing and starting take up to 1.5, and the whole change of hands may take 10.",
    )

    @model_validator(mode="after")
    def _secured(self) -> "Settings":
        """Addresses carry how they are to be talked to, so that everyone who gets one has it all. Refuses what contradicts itself."""
        names = ("kafka_ca_file", "kafka_cert_file", "kafka_key_file", "postgres_ca_file", "redis_ca_file")
        files = {
            name: secrets.pem_file(value if isinstance(value := getattr(self, name), str) else value.get_secret_value()) for name in names
        }
        if missing := [path for path in files.values() if path and not Path(path).is_file()]:
            raise ValueError(f"no such file: {', '.join(missing)}")
        security = KafkaSecurity(
            protocol=self.kafka_security,
            ca_file=files["kafka_ca_file"],
            cert_file=files["kafka_cert_file"],
            key_file=files["kafka_key_file"],
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_username,
            password=self.kafka_password.get_secret_value(),
        )
        postgres_url, redis_url = self.postgres_url.get_secret_value(), self.redis_url.get_secret_value()
        if self.redis_ca_file and redis_url and not redis_url.startswith("rediss://"):
            raise ValueError("TANDEM_REDIS_CA_FILE is set, but TANDEM_REDIS_URL does not begin with rediss://")
        secured = {
            "kafka_bootstrap_servers": KafkaServers(self.kafka_bootstrap_servers, security),
            "postgres_url": SecretStr(with_query(postgres_url, sslmode=self.postgres_sslmode, sslrootcert=files["postgres_ca_file"])),
            "redis_url": SecretStr(with_query(redis_url, ssl_ca_certs=files["redis_ca_file"])),
        }
        self.__dict__.update(secured)  # the model is frozen to everyone else
        return self

    def secrets(self) -> tuple[str, ...]:
        """Every secret, for who keeps them out of the logs."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))


def with_query(url: str, **parameters: str) -> str:
    """A URL with parameters that it does not name itself; an empty URL or parameter adds nothing."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    new = {name: value for name, value in parameters.items() if value and name not in query}
    return urlunsplit(parts._replace(query=urlencode(query | new))) if url and new else url


def load() -> Settings:
    """Settings from the environment. Raises BadSetting with every value that cannot be used.

    What was found is only told of a single field: the whole would show secrets.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        faults = [f"{_variable(f['loc'][0])} is {f['input']!r}: {f['msg']}" if f["loc"] else f["msg"] for f in error.errors()]
        raise BadSetting("settings: " + "; ".join(faults)) from None  # the error itself holds what was found, secrets and all
    secrets.hide(settings.secrets())
    return settings


def _variable(place: int | str) -> str:
    """The variable of a field, as people set it; a field that has a name of its own outside is told by that."""
    return f"TANDEM_{place.upper()}" if isinstance(place, str) and place in Settings.model_fields else str(place)
