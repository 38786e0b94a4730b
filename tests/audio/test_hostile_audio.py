"""Recordings with headers that lie: one line, and no memory for what is not there."""

import struct
from pathlib import Path

import pytest

from parlante.audio.io import read_audio
from parlante.core import InputError


def wav(rate: int, bits: int = 16, channels: int = 1, size: int | None = None) -> bytes:
    data = bytes(6400)
    step = channels * bits // 8
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, (rate * step) % 2**32, step % 2**16, bits)
    length = len(data) if size is None else size
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + form + b"data" + struct.pack("<I", length) + data


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**31 - 1])
def test_rates_that_nothing_records_at(rate: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(rate))
    with pytest.raises(InputError, match=r"samples a second, wanted 1000 to 768000|cannot be decoded|not a recording"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("content", [wav(16000, bits=0), wav(16000, channels=60000), wav(16000, bits=999), wav(0)])
def test_formats_that_nothing_decodes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_audio(tmp_path / "a.wav")
    assert "\n" not in str(caught.value) and "a.wav" in str(caught.value)
