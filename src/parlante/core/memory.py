"""Giving freed memory back to the system."""

import ctypes
import sys
from functools import cache
from typing import Any


def give_back_memory() -> bool:
    """Return freed pages to the system; True if any were. Does nothing where the C library cannot (not glibc).

    Large arrays that two threads hand to each other leave holes in glibc's arenas, so that a long run would otherwise
    hold memory that nobody uses (`malloc_trim(3)`).
    """
    trim = _malloc_trim()
    return bool(trim(0)) if trim is not None else False


@cache
def _malloc_trim() -> Any:
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
