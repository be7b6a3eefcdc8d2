"""The rate limit's headers: the newest counts, and only until its minute is over."""

import time

import pytest
import requests

from tandem.adapters.alpaca_rate import RateBudget


def heard(*answers: dict[str, str]) -> int | None:
    """What is left after answers with these headers."""
    budget, session = RateBudget(), requests.Session()
    budget.follow(session)
    for headers in answers:
        response = requests.Response()
        response.headers.update(headers)
        for hook in session.hooks["response"]:
            hook(response, timeout=1)
    return budget.left


# A run of all tests may last long between this line and the tests: the window must outlive it.
SOON, OVER = str(int(time.time()) + 86_400), str(int(time.time()) - 1)


@pytest.mark.parametrize(
    ("answers", "left"),
    [
        ([], None),
        ([{}], None),
        ([{"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "7", "X-RateLimit-Reset": SOON}], 7),
        ([{"x-ratelimit-remaining": "7", "x-ratelimit-reset": SOON}, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": SOON}], 0),
        ([{"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": SOON}, {}], 7),
        ([{"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": OVER}], None),
        ([{"X-RateLimit-Remaining": "many", "X-RateLimit-Reset": SOON}], None),
    ],
)
def test_the_newest_answer_counts_while_it_lasts(answers: list[dict[str, str]], left: int | None) -> None:
    assert heard(*answers) == left
