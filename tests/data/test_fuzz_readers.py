"""Damaged files of every kind: a clear error or a value, in time, and nothing is run or written.

PARLANTE_FUZZ=1000 tries as many damages per reader instead of a few.
"""

import faulthandler
import io
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import yaml
from fuzz_readers import READERS
from fuzzing import Reader, _array, _json, _yaml, fuzz, outcome

COUNT = int(os.environ.get("PARLANTE_FUZZ", "60"))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damage_is_read_or_refused(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if reader.name == "store":
        pytest.importorskip("zarr")
    faulthandler.dump_traceback_later(60 + 5 * COUNT, exit=True)  # for what hangs in compiled code
    try:
        tally, failures = fuzz(reader, tmp_path / "files", COUNT)
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert not failures, f"{len(failures)} of {COUNT}:\n" + "\n".join(failures[:20])
    assert tally["refused"] > 0


def test_the_watch_sees_what_a_reader_must_not_do(tmp_path: Path) -> None:
    from parlante.core import InputError

    def raising(error: BaseException) -> object:
        def read(root: Path) -> None:
            raise error

        return read

    assert "must not" in outcome(lambda root: os.system("true"), tmp_path)
    assert "open for writing" in outcome(lambda root: (root / "x").write_text("x"), tmp_path)
    assert outcome(raising(KeyError("a")), tmp_path).startswith("KeyError")  # type: ignore[arg-type]
    assert outcome(raising(InputError("no")), tmp_path).startswith("unclear")  # type: ignore[arg-type]
    assert outcome(raising(InputError("no such file: x; give one")), tmp_path) == "refused"  # type: ignore[arg-type]
    assert outcome(lambda root: (root / "x").read_text(), tmp_path) == "read"
    assert outcome(lambda root: np.ones(1 << 28), tmp_path).startswith("MemoryError")


def test_structure_changes_in_files_that_stay_whole() -> None:
    rng = random.Random(0)
    tree = json.dumps({"a": [1, {"b": "c"}], "d": 2.5}).encode()
    assert len({_json(tree, rng) for _ in range(50)}) > 30
    out = io.BytesIO()
    np.save(out, np.arange(6, dtype=np.float32).reshape(2, 3))
    arrays = [np.load(io.BytesIO(_array(out.getvalue(), rng))) for _ in range(60)]
    assert len({(array.shape, array.dtype) for array in arrays}) > 8
    assert yaml.safe_load(_yaml(b"a: 1\nb: {c: [1, 2]}", random.Random(1))) is not None


def test_text_that_is_no_text_is_refused(tmp_path: Path) -> None:
    from parlante.core import InputError
    from parlante.core.arrays import read_npz

    np.savez(
        tmp_path / "good.npz", names=np.array([["a", "é"], ["", "👄"]]), empty=np.zeros(0, "U3"), one=np.array("x")
    )
    assert read_npz(tmp_path / "good.npz")["names"][1, 1] == "👄"
    np.savez(tmp_path / "bad.npz", names=np.array([0x61, 0x110000], np.uint32).view("U2"))
    with pytest.raises(InputError, match="names is no text"):
        read_npz(tmp_path / "bad.npz")
