"""Signals that end a command: Ctrl-C, TERM and HUP. Whoever is in the middle of something cleans up or saves first."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask for an end."""


class Interrupted(KeyboardInterrupt):
    """A signal asked for an end. Its text, if any, says what was saved and how to go on."""

    def __init__(self, number: int = signal.SIGINT, told: str = "") -> None:
        super().__init__(told)
        self.number = int(number)

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells have it: 130 for Ctrl-C, 143 for TERM."""
        return 128 + self.number


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block the signals raise `Interrupted`, so that partial outputs are removed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled(stop):
        yield


@contextmanager
def noted() -> Iterator[Callable[[], int]]:
    """Within the block the first signal is only noted, so that a step can end and be saved; the second one raises
    `Interrupted` at once. Gives a function that says which one came: its number, 0 for none."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            raise Interrupted(number)
        seen.append(number)

    with _handled(note):
        yield lambda: seen[0] if seen else 0


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """A handler for all of them, in the main thread; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
