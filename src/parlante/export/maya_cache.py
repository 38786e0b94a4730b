"""Maya's vertex cache: one `.mc` file and the `.xml` that describes it, with the same name beside it.

The `.mc` is big-endian IFF: a `FOR4` group `CACH` with `VRSN`, `STIM`, `ETIM`, then per frame a `FOR4` group `MYCH` of
`TIME`, `CHNM` (the channel's name, zero-ended, padded to 4 bytes), `SIZE` (points) and `FVCA` (float32 x, y, z). Times
are Maya's ticks, 6,000 a second. Metres, y up; the head pose is in the vertices.
"""

import struct
from contextlib import ExitStack
from pathlib import Path
from xml.sax.saxutils import quoteattr

from parlante.core import InputError, atomic_path
from parlante.export.frames import AnimationInfo, FrameBlock, Poser
from parlante.export.sink import FileSink

TICKS = 6000
"""Per second."""
CHANNEL = "FaceShape"


class MayaCacheSink(FileSink):
    """Sink for `.mc`. Raises InputError for a frame rate that Maya's ticks cannot hold."""

    def __init__(self, path: Path, info: AnimationInfo) -> None:
        ticks = TICKS / info.fps
        if abs(ticks - round(ticks)) > 1e-6:
            raise InputError(
                f"cannot write {path}: Maya counts {TICKS} ticks a second, which {info.fps:g} frames do not divide; "
                "choose 24, 25, 30, 50 or 60 with --fps"
            )
        super().__init__(path, info)
        self._ticks = round(ticks)
        self._posed = Poser(info)

    def begin(self, stack: ExitStack) -> None:
        last = max(0, self.info.num_frames - 1) * self._ticks
        xml = stack.enter_context(atomic_path(self.path.with_suffix(".xml")))
        super().begin(stack)
        self._file = stack.enter_context(self.partial.open("wb"))
        xml.write_text(_description(self._ticks, last), encoding="utf-8")
        self._file.write(_group(b"CACH", (b"VRSN", b"0.1\0"), (b"STIM", _int(0)), (b"ETIM", _int(last))))

    def write(self, block: FrameBlock) -> None:
        """Append frames."""
        for frame, vertices in enumerate(self._posed(block), block.start):
            self._file.write(
                _group(
                    b"MYCH",
                    (b"TIME", _int(frame * self._ticks)),
                    (b"CHNM", CHANNEL.encode() + b"\0"),
                    (b"SIZE", _int(len(vertices))),
                    (b"FVCA", vertices.astype(">f4").tobytes()),
                )
            )


def _group(name: bytes, *blocks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(key + _int(len(data)) + data + bytes(-len(data) % 4) for key, data in blocks)
    return b"FOR4" + _int(4 + len(body)) + name + body


def _int(value: int) -> bytes:
    return struct.pack(">i", value)


def _description(ticks: int, last: int) -> str:
    channel = {
        "ChannelName": CHANNEL,
        "ChannelType": "FloatVectorArray",
        "ChannelInterpretation": "positions",
        "SamplingType": "Regular",
        "SamplingRate": ticks,
        "StartTime": 0,
        "EndTime": last,
    }
    attributes = " ".join(f"{key}={quoteattr(str(value))}" for key, value in channel.items())
    return (
        '<?xml version="1.0"?>\n<Autodesk_Cache_File>\n'
        '  <cacheType Type="OneFile" Format="mcc"/>\n'
        f'  <time Range="0-{last}"/>\n  <cacheTimePerFrame TimePerFrame="{ticks}"/>\n'
        '  <cacheVersion Version="2.0"/>\n'
        f"  <Channels>\n    <channel0 {attributes}/>\n  </Channels>\n</Autodesk_Cache_File>\n"
    )
