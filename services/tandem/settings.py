"""Settings, read once by each composition root from the environment. Every field is one variable, TANDEM_<NAME>."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tandem.domain.errors import BadSetting


class Settings(BaseSettings):
    """Everything a service needs to find its servers. No default holds a credential of a real account."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", frozen=True, extra="ignore", populate_by_name=True)

    home: Path = Field(default=Path("var/tandem"), description="State of the embedded platform: data of its servers, logs, pids.")
    config_dir: Path = Field(default=Path("config"), description="Sectors, declared pairs and default parameters (YAML).")

    kafka_bootstrap_servers: str = Field(default="", description="host:port[,host:port]; empty: `tandem up` starts Kafka itself.")
    postgres_url: SecretStr = Field(default=SecretStr(""), description="postgresql://user:password@host:port/tandem")
    redis_url: SecretStr = Field(default=SecretStr(""), description="redis://host:port/0")
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

    host: str = Field(default="127.0.0.1", description="Address that a service's HTTP listens on.")
    port: int = Field(default=0, description="Port that a service's HTTP listens on.")
    api_token: SecretStr = Field(default=SecretStr(""), description="Bearer token for calls that change state; empty refuses them all.")
    log_level: str = Field(default="INFO", description="Least level that is logged: DEBUG, INFO, WARNING or ERROR.")

    sector: str = Field(default="", description="Forecaster: its sector.")
    model_version: str = Field(default="", description="Forecaster: its pinned registry version.")
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
    capital_usd: str = Field(default="1000000", description="Portfolio: equity that the book opens with, must equal the broker's.")


def load() -> Settings:
    """Settings from the environment. Raises BadSetting with every value that cannot be used."""
    try:
        return Settings()
    except ValidationError as error:
        faults = [f"{fault['loc'][0]} is {fault['input']!r}: {fault['msg']}" for fault in error.errors()]
        raise BadSetting("settings: " + "; ".join(faults)) from error
