"""What the operator knows of the namespace: the newest version of each object, whoever told of it and in whatever order."""

from tandem.operator.objects import Objects
from tandem.ports import Manifest


def thing(name: str, version: int, uid: str = "") -> Manifest:
    """An object; its uid is made of its name."""
    return {"kind": "Thing", "metadata": {"name": name, "resourceVersion": str(version), "uid": uid or f"uid-{name}"}}


def test_the_newest_version_stays_whatever_comes_after() -> None:
    """Answers to own writes overtake the watch; 10 is newer than 9, though not as text."""
    objects = Objects()
    for version in (8, 10, 9):
        objects.put(thing("a", version))
    assert objects.get("Thing", "a") == thing("a", 10)


def test_an_object_that_took_the_name_of_one_that_is_gone_stays() -> None:
    """The watch may tell late that the first one is gone."""
    objects = Objects()
    objects.put(thing("a", 5, uid="second"))
    objects.drop("Thing", "a", uid="first")
    assert objects.get("Thing", "a") is not None
    objects.drop("Thing", "a", uid="second")
    assert objects.get("Thing", "a") is None
    objects.drop("Other", "a")


def test_an_answer_that_comes_after_the_news_of_the_deletion_changes_nothing() -> None:
    """Taking the last finalizer off deletes the object, and the watch may be faster than the answer."""
    objects = Objects()
    objects.put(thing("a", 5, uid="first"))
    objects.drop("Thing", "a", uid="first")
    objects.put(thing("a", 6, uid="first"))
    assert objects.get("Thing", "a") is None
    objects.put(thing("a", 7, uid="second"))
    assert objects.get("Thing", "a") == thing("a", 7, uid="second")
    objects.drop("Thing", "never-known", uid="third")
    objects.put(thing("never-known", 8, uid="third"))
    assert objects.get("Thing", "never-known") is None


def test_a_list_tells_what_the_watch_has_missed() -> None:
    """What is gone, what is new, and what has changed."""
    objects = Objects()
    for name in ("gone", "same", "changed"):
        objects.put(thing(name, 1))
    gone = objects.relist("Thing", lambda: [thing("same", 1), thing("changed", 2), thing("new", 3)])
    assert gone == {"gone"}
    assert objects.all("Thing") == (thing("changed", 2), thing("new", 3), thing("same", 1))


def test_what_the_watch_tells_while_a_list_is_fetched_is_newer_than_the_list() -> None:
    """An object that was made after the list is not taken for one that is gone, and a newer version stays."""
    objects = Objects()
    objects.put(thing("old", 1))

    def fetch() -> list[Manifest]:
        objects.put(thing("new", 7))
        objects.put(thing("old", 8))
        return []

    assert objects.relist("Thing", fetch) == frozenset()
    assert objects.all("Thing") == (thing("new", 7), thing("old", 8))
