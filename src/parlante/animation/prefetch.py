"""Make the next piece while the last one is being written."""

import contextvars
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from parlante.core.memory import give_back_memory

TRIM_EVERY = 50
"""Items between two returns of freed memory to the system."""
Item = TypeVar("Item")
_END = object()


@contextmanager
def prefetch(items: Iterable[Item], depth: int = 1) -> Iterator[Iterator[Item]]:
    """The same items, made by another thread from now on, which runs at most `depth` + 1 of them ahead.

    An error while making them is raised where they are taken. Leaving the block ends the thread after the item that it
    is making.
    """
    ready: queue.Queue[Any] = queue.Queue(depth)
    stop = threading.Event()

    def make() -> None:
        last: Any = _END
        try:
            for item in items:
                if not _offer(ready, item, stop):
                    return
        except BaseException as error:
            last = _Failure(error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        _offer(ready, last, stop)

    def take() -> Iterator[Item]:
        taken = 0
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
            taken += 1
            if taken % TRIM_EVERY == 0:
                give_back_memory()

    context = contextvars.copy_context()  # notes of the thread are those of whoever takes the items
    thread = threading.Thread(target=context.run, args=(make,), name="parlante-prefetch", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stop.set()
        thread.join()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _offer(ready: "queue.Queue[Any]", item: Any, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
