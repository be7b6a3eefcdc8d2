"""Facts of companies as the user loads them: read whole, or refused with the line."""

from pathlib import Path

import pytest

from tandem.adapters.companies_file import COMPANIES_FILE, load_companies
from tandem.domain.errors import BadSetting


def test_facts_by_symbol(tmp_path: Path) -> None:
    """Columns of the user's own; empty fields are left out; a byte order mark of a spreadsheet does no harm."""
    (tmp_path / COMPANIES_FILE).write_text('﻿symbol,name,industry\nKO,"Coca-Cola, Inc.",Beverages\nPEP, PepsiCo ,\n', encoding="utf-8")
    assert load_companies(tmp_path) == {"KO": {"name": "Coca-Cola, Inc.", "industry": "Beverages"}, "PEP": {"name": "PepsiCo"}}


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    """It is the user's to bring."""
    assert load_companies(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected column names"),
        ("symbol\nKO\n", "expected column names"),
        ("name,name\nKO,PEP\n", "expected column names"),
        ("ticker,name\nKO,Coca-Cola\n", "symbol among them"),
        ("symbol,name\nKO,Coca-Cola,more\n", ":2: found another number of fields than the 2"),
        ("symbol,name\nKO\n", ":2: found another number of fields"),
        ("symbol,name\nko,Coca-Cola\n", ":2: symbol 'ko'"),
        ("symbol,name\nKO,a\nKO,b\n", ":3: KO stands there for the second time"),
        ('symbol,name\nKO,"a\n', "unexpected end"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """With file, line, what was found and what is allowed."""
    (tmp_path / COMPANIES_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(BadSetting) as caught:
        load_companies(tmp_path)
    assert COMPANIES_FILE in str(caught.value)
    assert reason in str(caught.value)
