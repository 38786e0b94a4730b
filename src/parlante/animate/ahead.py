"""Make the next piece while the last one is being written."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

Item = TypeVar("Item")
_END = object()


def ahead(items: Iterable[Item], depth: int = 1) -> Generator[Item, None, None]:
    """The same items, made by another thread that runs at most `depth` + 1 of them ahead.

    An error while making them is raised here. Closing this iterator ends the thread after the item it is making.
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

    thread = threading.Thread(target=make, name="parlante-ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
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
