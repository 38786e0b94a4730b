"""What all sinks share: a file appears when it is finished, and never otherwise."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from parlante.export import AnimationInfo, FrameBlock
from parlante.export.sink import FileSink


class Lines(FileSink):
    """Counts frames, and writes the last line when all have come."""

    bad = False

    def begin(self, stack: ExitStack) -> None:
        super().begin(stack)
        self.file = stack.enter_context(self.partial.open("w"))

    def write(self, block: FrameBlock) -> None:
        self.file.write(f"{len(block)}\n")

    def finish(self) -> None:
        self.file.write("end\n")
        if self.bad:
            raise ValueError("no frames")


def test_what_finish_writes_is_in_the_file(info: AnimationInfo, tmp_path: Path) -> None:
    with Lines(tmp_path / "a.txt", info) as sink:
        sink.write(FrameBlock(0, np.zeros((3, 144, 3), np.float32)))
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "3\nend\n" and sink.file.closed


def test_an_error_leaves_nothing(info: AnimationInfo, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Lines(tmp_path / "a.txt", info) as sink:
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="no frames"), Lines(tmp_path / "a.txt", info) as late:
        late.bad = True
    assert sink.file.closed and late.file.closed and not list(tmp_path.iterdir())


def test_what_cannot_be_opened_leaves_nothing(info: AnimationInfo, tmp_path: Path) -> None:
    class Shut(Lines):
        def begin(self, stack: ExitStack) -> None:
            super().begin(stack)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError), Shut(tmp_path / "a.txt", info):
        pass
    assert not list(tmp_path.iterdir())
