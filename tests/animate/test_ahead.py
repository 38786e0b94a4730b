"""Working ahead changes neither the items nor the errors, and stops when nobody wants more."""

import threading
import time
from collections.abc import Iterator

import pytest

from parlante.animate.ahead import ahead


def test_items_come_in_order() -> None:
    assert list(ahead(range(20))) == list(range(20))
    assert list(ahead([])) == []


def test_an_error_arrives_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("spilt")

    made = ahead(failing())
    assert next(made) == 1
    with pytest.raises(ValueError, match="spilt"):
        next(made)


def test_closing_stops_the_maker_soon_and_closes_it() -> None:
    made: list[int] = []
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                made.append(len(made))
                yield made[-1]
        finally:
            closed.set()

    items = ahead(endless(), depth=2)
    next(items)
    items.close()
    assert closed.is_set() and len(made) < 8
    count = len(made)
    time.sleep(0.05)
    assert len(made) == count
