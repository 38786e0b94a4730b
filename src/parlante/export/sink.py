"""What all sinks share: an output that is opened, filled, finished, and then appears under its name, or not at all."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from parlante.core import atomic_path
from parlante.export.frames import AnimationInfo, FrameBlock

_Self = TypeVar("_Self", bound="FileSink")


class FileSink:
    """A `FrameSink` of one file or folder. A format overrides `write`, and of `begin` and `finish` what it needs."""

    partial: Path
    """Where to write; it gets the name `path` when all is written. Known from `begin` on."""

    def __init__(self, path: Path, info: AnimationInfo) -> None:
        self.path = Path(path)
        self.info = info
        self._stack = ExitStack()

    def __enter__(self: _Self) -> _Self:
        with ExitStack() as stack:
            self.begin(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        with self._stack as stack:
            if error[0] is None:
                self.finish()
            else:
                stack.__exit__(*error)
        return None

    def write(self, block: FrameBlock) -> None:
        """Take the next frames; blocks come in order and without gaps."""
        raise NotImplementedError

    def begin(self, stack: ExitStack) -> None:
        """Begin. What is entered into `stack` is left after `finish`, or at once after an error, in reverse order."""
        self.partial = stack.enter_context(atomic_path(self.path))

    def finish(self) -> None:
        """All frames have come: write what is left."""
