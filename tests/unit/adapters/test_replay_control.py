"""The recycler's control over a real socket: what is no status is never taken for one."""

import pytest

from json_server import json_server
from tandem.adapters.replay_control import ReplayControl
from tandem.domain.errors import Permanent, Transient

STATUS = {"state": "waiting", "replay_id": "r1", "watermark_ns": 7}


@pytest.mark.parametrize(
    "body",
    [{}, {"message": "maintenance"}, None, [], 7, *({**STATUS, "watermark_ns": found} for found in ("soon", [1], float("inf")))],
)
def test_an_answer_that_is_no_status_is_told(body: object) -> None:
    with json_server({"/tandem/v1/replay": (200, body)}) as (_, url):
        control = ReplayControl(url, key_id="k", secret_key="s", name="ingestor")
        with pytest.raises((Transient, Permanent)):
            control.status()
        control.close()


def test_a_status_is_read() -> None:
    with json_server({"/tandem/v1/replay": (200, STATUS)}) as (_, url):
        control = ReplayControl(url, key_id="k", secret_key="s", name="ingestor")
        status = control.status()
        control.close()
    assert (status.state, status.replay_id, status.watermark_ns) == ("waiting", "r1", 7)
