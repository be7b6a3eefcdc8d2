"""Topics are made once, whoever is first, and can be used when the call returns."""

from collections.abc import Sequence

import pytest
from kafka.errors import TopicAlreadyExistsError

from tandem.adapters import topics
from tandem.adapters.kafka_log import create_topics

STAPLES = topics.ticks("staples")


@pytest.mark.parametrize("seen", [[], [topics.CONTROL], [topics.CONTROL, topics.FORECASTS, topics.DEADLETTER, STAPLES]])
def test_topics_that_another_process_makes_at_the_same_time_are_waited_for(monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> None:
    """A service that asked a moment later began to read what was not there yet, and ended."""
    waited: list[str] = []

    class Admin:
        """A broker that has been asked for all of them already; some it also tells of."""

        def __init__(self, **options: object) -> None:
            self.open = True

        def list_topics(self) -> list[str]:
            return seen

        def create_topics(self, new: Sequence[object]) -> None:
            raise TopicAlreadyExistsError

        def wait_for_topics(self, names: Sequence[str], timeout_ms: int) -> None:
            assert self.open
            waited.extend(names)

        def close(self) -> None:
            self.open = False

    monkeypatch.setattr("tandem.adapters.kafka_log.KafkaAdminClient", Admin)
    create_topics("a:1", ["staples"])
    assert sorted(waited) == sorted([topics.CONTROL, topics.FORECASTS, topics.DEADLETTER, STAPLES])
