"""The service that turns the market-data stream into tick frames on Kafka, with heartbeats and a dead letter."""
