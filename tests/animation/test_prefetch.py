"""Working ahead changes neither the items nor the errors, and stops when nobody wants more."""

import threading
import time
from collections.abc import Iterator

import pytest

from parlante.animation.prefetch import prefetch


def test_items_come_in_order() -> None:
    for count in (0, 1, 20):
        with prefetch(range(count)) as items:
            assert list(items) == list(range(count))


def test_an_error_arrives_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("spilt")

    with prefetch(failing()) as made:
        assert next(made) == 1
        with pytest.raises(ValueError, match="spilt"):
            next(made)


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_leaving_stops_the_maker_soon_and_closes_it(taken: int) -> None:
    made: list[int] = []
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                made.append(len(made))
                yield made[-1]
        finally:
            closed.set()

    with prefetch(endless(), depth=2) as items:
        for _ in range(taken):
            next(items)
    assert closed.is_set() and len(made) <= taken + 4
    count = len(made)
    time.sleep(0.05)
    assert len(made) == count
