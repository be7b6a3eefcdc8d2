"""Laws of editing a list in a YAML text, whatever its style and comments."""

from hypothesis import given
from hypothesis import strategies as st

from tandem.adapters.yaml_documents import read_documents
from tandem.adapters.yaml_edit import add_item, remove_item

symbols = st.lists(
    st.from_regex(r"[A-Z]{1,5}", fullmatch=True).filter(lambda s: s not in {"NEW", "TRUE", "FALSE", "NULL"}), min_size=1, unique=True
)
comments = st.sampled_from(["", "  # why", "\n\n    # a group"])


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A file with one list under `s.a` in block or flow style, between comments, and its items."""
    items = draw(symbols)
    if draw(st.booleans()):
        body = f" [{', '.join(items)}]  # flow\n"
    else:
        indent = draw(st.sampled_from(["  ", "    "]))
        body = "  # block\n" + "".join(f"{indent}- {item}{draw(comments)}\n" for item in items)
    return f"# head\ns:\n  a:{body}\n# tail\nb: 1\n", items


@given(texts())
def test_removing_what_was_added_gives_the_same_text(case: tuple[str, list[str]]) -> None:
    """Add, then remove, is nothing."""
    text, _ = case
    assert remove_item("f", add_item("f", text, ("s", "a"), "NEW"), ("s", "a"), "NEW") == text


@given(texts(), st.data())
def test_a_removal_takes_one_item_and_no_other_line(case: tuple[str, list[str]], data: st.DataObject) -> None:
    """The rest of the list keeps its order; comments on lines of their own stay."""
    text, items = case
    gone = data.draw(st.sampled_from(items))
    after = remove_item("f", text, ("s", "a"), gone)
    left = read_documents("f", after)[0].root["s"]["a"]
    assert list(left or []) == [item for item in items if item != gone]
    own_lines = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert [line for line in after.splitlines() if line.lstrip().startswith("#")] == own_lines
