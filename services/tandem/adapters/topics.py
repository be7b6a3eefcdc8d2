"""Names and settings of the Kafka topics."""

FORECASTS = "tandem.forecasts"
CONTROL = "tandem.control"
DEADLETTER = "tandem.deadletter"

# When the frame or heartbeat reached the ingestor, and when the forecast left: wall time in ns, 8 bytes little-endian.
# In headers, because the records themselves depend on event time only.
HEADER_INGESTED = "ingested_ns"
HEADER_PUBLISHED = "published_ns"
# Of a batch of forecasts: the records of the sector's tick topic that are new in it, "first-last" in ASCII. Same log, same header.
HEADER_TICKS = "tandem-ticks"
# On heartbeats, JSON {symbol: STATUS_* bits} of symbols that are halted or restricted: an ingestor that starts again reads it.
HEADER_FLAGS = "market_flags"


def ticks(sector: str) -> str:
    """The topic of a sector's ticks."""
    return f"tandem.ticks.{sector}"
