"""Names and settings of the Kafka topics."""

FORECASTS = "tandem.forecasts"
CONTROL = "tandem.control"
DEADLETTER = "tandem.deadletter"

# When the frame or heartbeat reached the ingestor, and when the forecast left: wall time in ns, 8 bytes little-endian.
# In headers, because the records themselves depend on event time only.
HEADER_INGESTED = "ingested_ns"
HEADER_PUBLISHED = "published_ns"


def ticks(sector: str) -> str:
    """The topic of a sector's ticks."""
    return f"tandem.ticks.{sector}"
