"""The file of --script: directives and when they take effect. docs/exchange.md has its form."""

from collections.abc import Sequence
from pathlib import Path

from tandem.adapters.yaml_documents import read_items, read_text
from tandem.domain.errors import BadSetting
from tandem.domain.ids import Symbol, derived_uuid
from tandem.recycler.directives_body import Planned, When, planned


def load_script(path: Path, symbols: Sequence[Symbol]) -> tuple[Planned, ...]:
    """All directives of a file, in its order. Raises BadSetting with the line of what is wrong."""
    return parse_script(str(path), read_text(path), symbols)


def parse_script(file: str, text: str, symbols: Sequence[Symbol]) -> tuple[Planned, ...]:
    """The same from a text; `file` names it in messages. Ids come from the place in the list, not from the file's name."""
    found = []
    for number, (place, item) in enumerate(read_items(file, text)):
        try:
            directive = planned(item, derived_uuid("script", number), symbols)
            if directive.when is When.NOW:
                raise BadSetting("at is missing: a time, 'bar n' or 'order n'")
        except BadSetting as error:
            raise BadSetting(f"{place}: {error}") from error
        found.append(directive)
    return tuple(found)
