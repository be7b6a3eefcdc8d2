"""How Kafka's clients reach their servers: addresses, encryption and credentials in one value.

The value is a str of the addresses, so that whoever names the servers in a message or log names no secret. A plain str is a broker without
encryption and passwords, like the one that `tandem up` starts. Made by settings.py, read by whatever makes a client of kafka-python.
"""

from dataclasses import dataclass, field
from typing import Any

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

# The library doubles its pause up to 30 s: after a broker's restart of ten seconds a client slept ten more, and the market with it.
_PATIENCE = {"reconnect_backoff_ms": 50, "reconnect_backoff_max_ms": 1_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSecurity:
    """Encryption and credentials. Files are PEM; "" where there is none: the machine's own authorities, no client certificate."""

    protocol: str = "PLAINTEXT"
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    mechanism: str = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS or self.mechanism not in MECHANISMS:
            raise ValueError(f"protocol {self.protocol!r}, mechanism {self.mechanism!r}; allowed are {PROTOCOLS} and {MECHANISMS}")
        if self.is_sasl and not (self.username and self.password):
            raise ValueError(f"{self.protocol} needs a user and a password")
        if not self.is_sasl and (self.username or self.password):
            raise ValueError(
                f"a user or password is set, but {self.protocol} sends neither; allowed with it are SASL_SSL and SASL_PLAINTEXT"
            )
        if not self.is_tls and (self.ca_file or self.cert_file or self.key_file):
            raise ValueError(f"certificates are set, but {self.protocol} does not encrypt; allowed with them are SSL and SASL_SSL")
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("of client certificate and key only one is set; both or neither are needed")

    @property
    def is_tls(self) -> bool:
        """The connection is encrypted and the broker's certificate checked, its name included."""
        return self.protocol.endswith("SSL")

    @property
    def is_sasl(self) -> bool:
        """The client says who it is with a password."""
        return self.protocol.startswith("SASL")

    def options(self) -> dict[str, Any]:
        """Arguments of every client of kafka-python."""
        if self.protocol == "PLAINTEXT":
            return {}
        found: dict[str, Any] = {"security_protocol": self.protocol}
        if self.is_tls:
            found |= {"ssl_check_hostname": True, "ssl_cafile": self.ca_file or None}
        if self.cert_file:
            found |= {"ssl_certfile": self.cert_file, "ssl_keyfile": self.key_file}
        if self.is_sasl:
            found |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return found


class KafkaServers(str):
    """host:port[,host:port] and how to talk to them."""

    security: KafkaSecurity

    def __new__(cls, servers: str, security: KafkaSecurity) -> "KafkaServers":
        """The same text, with its security."""
        made = super().__new__(cls, servers)
        made.security = security
        return made


def client_options(servers: str) -> dict[str, Any]:
    """Arguments of every client of these servers; no encryption and no password for a plain str."""
    return _PATIENCE | (servers.security.options() if isinstance(servers, KafkaServers) else {})
