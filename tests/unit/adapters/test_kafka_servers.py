"""How Kafka is reached: options of its client, contradictions, and a text that holds no secret."""

import pytest

from tandem.adapters.kafka_servers import KafkaSecurity, KafkaServers, client_options


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ({}, {}),
        ({"protocol": "SSL"}, {"security_protocol": "SSL", "ssl_check_hostname": True, "ssl_cafile": None}),
        (
            {"protocol": "SSL", "ca_file": "ca", "cert_file": "crt", "key_file": "key"},
            {
                "security_protocol": "SSL",
                "ssl_check_hostname": True,
                "ssl_cafile": "ca",
                "ssl_certfile": "crt",
                "ssl_keyfile": "key",
            },
        ),
        (
            {"protocol": "SASL_SSL", "username": "u", "password": "p"},
            {
                "security_protocol": "SASL_SSL",
                "ssl_check_hostname": True,
                "ssl_cafile": None,
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": "u",
                "sasl_plain_password": "p",
            },
        ),
    ],
)
def test_options_say_what_the_client_needs(security: dict[str, str], expected: dict[str, object]) -> None:
    servers = KafkaServers("a:1,b:2", KafkaSecurity(**security))

    patience = client_options("a:1")
    assert client_options(servers) == patience | expected
    assert patience["reconnect_backoff_max_ms"] <= 1_000, "a broker that is back is found within a second"
    assert (servers, servers.split(",")) == ("a:1,b:2", ["a:1", "b:2"])


@pytest.mark.parametrize(
    ("security", "message"),
    [
        ({"protocol": "TLS"}, "allowed are"),
        ({"protocol": "SASL_SSL", "mechanism": "GSSAPI", "username": "u", "password": "p"}, "allowed are"),
        ({"protocol": "SASL_SSL", "username": "u"}, "needs a user and a password"),
        ({"protocol": "SSL", "password": "p"}, "sends neither"),
        ({"ca_file": "ca"}, "does not encrypt"),
        ({"protocol": "SASL_PLAINTEXT", "username": "u", "password": "p", "ca_file": "ca"}, "does not encrypt"),
        ({"protocol": "SSL", "cert_file": "crt"}, "both or neither"),
    ],
)
def test_what_contradicts_itself_is_refused(security: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KafkaSecurity(**security)


def test_no_form_of_it_shows_the_password() -> None:
    servers = KafkaServers("a:1", KafkaSecurity(protocol="SASL_SSL", username="u", password="hush-hush"))

    assert "hush" not in f"{servers} {servers!r} {servers.security!r}"
