"""The picture of the flow is a well-formed SVG whose arrows end at boxes and whose text fits."""

from xml.etree import ElementTree as ET

import pytest

from tandem.adapters import topics
from tandem.cli.flow_picture import ARROWS, BOXES, Arrow, Box, picture

_BOLD, _PLAIN = 7.5, 6.6  # pixels a letter, as Chromium drew the widest lines of the picture (DejaVu Sans, a wide one)
_OPEN_END = "every service follows it"


def touches(box: Box, point: tuple[int, int]) -> bool:
    x, y = point
    return box.x - 1 <= x <= box.x + box.width + 1 and box.y - 8 <= y <= box.y + box.height + 9


@pytest.mark.parametrize("arrow", ARROWS, ids=str)
def test_an_arrow_leads_from_a_box_to_another(arrow: Arrow) -> None:
    """Nothing points into the void, but for what all services follow."""
    ends = [[box.lines[0] for box in BOXES if touches(box, point)] for point in (arrow.points[0], arrow.points[-1])]
    assert len(ends[0]) == 1
    assert len(ends[1]) == (0 if arrow.word == _OPEN_END else 1)
    assert ends[0] != ends[1]


@pytest.mark.parametrize("box", BOXES, ids=lambda box: box.lines[0])
def test_a_box_holds_its_text_and_overlaps_no_other(box: Box) -> None:
    """Each line is narrower than its box, and no box lies on another."""
    assert len(box.lines[0]) * _BOLD <= box.width
    assert max(len(line) for line in (*box.lines[1:], "")) * _PLAIN <= box.width
    for other in BOXES:
        apart = (
            other.x >= box.x + box.width
            or box.x >= other.x + other.width
            or other.y >= box.y + box.height
            or box.y >= other.y + other.height
        )
        assert other is box or apart


def test_the_picture_names_the_topics_of_the_code() -> None:
    """It is XML, has a title for those who cannot see it, and says the topics' real names."""
    root = ET.fromstring("\n".join(picture().splitlines()[1:]))
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {topics.FORECASTS, topics.CONTROL, topics.ticks("<sector>")} <= texts
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
