"""Notes: gathered in order, once each, and warnings where nobody gathers."""

import contextvars
import logging
import threading

import pytest

from parlante.core.notes import gathered, note


def test_lines_are_gathered_once_and_in_order() -> None:
    with gathered() as outer:
        note("first")
        with gathered() as inner:
            note("second")
            note("second")
        note("first")
    assert (outer, inner) == (["first", "second"], ["second"])


def test_a_thread_in_a_copy_of_the_context_tells_the_same_list() -> None:
    with gathered() as lines:
        thread = threading.Thread(target=contextvars.copy_context().run, args=(note, "from a thread"))
        thread.start()
        thread.join()
    assert lines == ["from a thread"]


def test_what_nobody_gathers_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "parlante"):
        note("nobody listens")
    assert "nobody listens" in caplog.text
