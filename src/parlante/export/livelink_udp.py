"""Live Link over UDP: the packets of the Live Link Face app, one per frame, sent at the moment each frame is due.

A packet, all numbers big-endian: version 6 (one byte); device id and subject name, each a length (int32) and its bytes;
frame number (int32), part of a frame (float32), rate as numerator and denominator (int32 each); 61 as one byte; 61
float32: the 52 weights in ARKit's order (JawLeft before JawRight, unlike the app's CSV) and nine angles in radians.
Frame numbers count from midnight, as the app's do and as Unreal's time code does.
"""

import ipaddress
import logging
import queue
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.export.frames import AnimationInfo, FrameBlock
from parlante.export.livelink_csv import ANGLES, look_angles
from parlante.head.arkit import ARKIT_NAMES

PORT = 11111
PACKET_ORDER = (*(name[0].upper() + name[1:] for name in ARKIT_NAMES), *ANGLES)
"""Names of a packet's 61 values."""
_VERSION = 6
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Receiver:
    """Where packets go, found by `find_receiver`."""

    address: tuple[Any, ...]
    family: int
    name: str
    """As the user wrote it, with the port."""
    subject: str = "Parlante"
    """The name that the receiving program lists."""


def find_receiver(text: str, *, subject: str = "Parlante", allow_remote: bool = False) -> Receiver:
    """Look up `HOST`, `HOST:PORT` or `[IPv6]:PORT`.

    Raises InputError for a host that is unknown, or is not this machine without `allow_remote`.
    """
    host, port = _split(text)
    if not 0 < len(subject.encode()) <= 255:
        raise InputError(f"a subject's name has 1 to 255 bytes, got {len(subject.encode())}; try Parlante")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise InputError(f"cannot find the host {host!r}: {error}; try 127.0.0.1") from error
    family, *_, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    if not allow_remote and not ipaddress.ip_address(str(address[0]).split("%")[0]).is_loopback:
        raise InputError(
            f"{host} is {address[0]}, another machine: packets are neither encrypted nor acknowledged; "
            "give --allow-remote to send them there, or 127.0.0.1 for this one"
        )
    return Receiver(address, int(family), f"{host}:{port}" if ":" not in host else f"[{host}]:{port}", subject)


def packet(frame: int, rate: Fraction, values: Iterable[float], *, subject: str, device: str) -> bytes:
    """One frame; `frame` counts at `rate` from midnight, `values` are the 61 of `PACKET_ORDER`."""
    names = b"".join(struct.pack(">i", len(name)) + name for name in (device.encode(), subject.encode()))
    when = struct.pack(">ifii", frame, 0.0, rate.numerator, rate.denominator)
    numbers = np.fromiter(values, ">f4")
    return struct.pack(">B", _VERSION) + names + when + struct.pack(">B", len(numbers)) + numbers.tobytes()


def rate_of(fps: float) -> Fraction:
    """Frames a second as a fraction: 30/1, 24000/1001 for 23.976, 25/2 for 12.5."""
    whole = round(fps)
    for rate in (Fraction(whole), Fraction(max(whole, 1) * 1000, 1001)):
        if abs(fps - rate) < 1e-3:
            return rate
    return Fraction(fps).limit_denominator(1000)


class Clock:
    """Seconds that pass; `wait` can be cut short from another thread by `stop`."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def now(self) -> float:
        """Seconds since some moment."""
        return time.perf_counter()

    def since_midnight(self) -> float:
        """Seconds of the local day."""
        now = datetime.now()
        return (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()

    def wait(self, seconds: float) -> bool:
        """Let time pass, if seconds > 0; whether to go on."""
        return not self._stopped.wait(max(seconds, 0.0))

    def stop(self) -> None:
        """End this and all later waits."""
        self._stopped.set()


class Pace:
    """Sends rows of 61 values, row n at n / rate seconds after the first; those that come too late, at once.

    The time line is kept: who starts the audio with the first frame stays in step with it.
    """

    def __init__(self, send: Callable[[int, NDArray[np.float64]], None], rate: Fraction, clock: Clock) -> None:
        self._send, self._rate, self._clock = send, rate, clock
        self._began = 0.0
        self._first_frame = 0
        self._stalled = False
        self.sent = 0
        self.late = 0
        """Frames sent when the next one was due already, or later."""
        self.worst = 0.0
        """Seconds: the most that a frame was late."""

    def play(self, rows: NDArray[np.float64]) -> bool:
        """Send rows (n, 61) when they are due; whether to go on."""
        for row in rows:
            if not self.sent:
                self._began = self._clock.now()
                self._first_frame = int(self._clock.since_midnight() * self._rate)
            due = self._began + float(self.sent / self._rate)
            if not self._clock.wait(due - self._clock.now()):
                return False
            self._note(self._clock.now() - due)
            day = int(86400 * self._rate)
            self._send((self._first_frame + self.sent) % day, row)
            self.sent += 1
        return True

    def _note(self, behind: float) -> None:
        late = behind > float(1 / self._rate)
        if late and not self._stalled:
            log.warning("live: frame %d is %.2f s late", self.sent, behind)
        self._stalled = late
        self.late += late
        self.worst = max(self.worst, behind if late else 0.0)


class LiveLinkSender:
    """Sink that sends frames as they come, in a thread of its own so that files beside it do not hold it up.

    Leaving the block cleanly waits until the last frame is due; an error or an interrupt ends it at once. Raises
    InputError if the animation has no ARKit weights or the network refuses.
    """

    def __init__(self, receiver: Receiver, info: AnimationInfo, clock: Clock | None = None) -> None:
        missing = [name for name in ARKIT_NAMES if name not in info.weight_names]
        if missing:
            raise InputError(f"cannot send live: the animation has no ARKit weights ({missing[0]} is missing)")
        self.receiver = receiver
        self._info = info
        self._columns = [info.weight_names.index(name) for name in ARKIT_NAMES]
        self._rate = rate_of(info.fps)
        self._device = str(uuid.uuid4()).upper()
        self._clock = clock or Clock()
        self._waiting: queue.SimpleQueue[NDArray[np.float64] | None] = queue.SimpleQueue()
        self._error: OSError | None = None
        self._deaf = False
        self.pace = Pace(self._send, self._rate, self._clock)

    def __enter__(self) -> "LiveLinkSender":
        self._socket = socket.socket(self.receiver.family, socket.SOCK_DGRAM)
        try:
            self._socket.connect(self.receiver.address)
        except OSError as error:
            self._socket.close()
            raise self._refused(error) from error
        self._thread = threading.Thread(target=self._run, name="parlante-live", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self._waiting.put(None)
                self._thread.join()
        finally:
            self._clock.stop()
            self._waiting.put(None)
            self._thread.join()
            self._socket.close()
        if error[0] is None and self._error is not None:
            raise self._refused(self._error) from self._error

    def write(self, block: FrameBlock) -> None:
        """Queue the frames; returns at once."""
        assert block.weights is not None
        if self._error is not None:
            raise self._refused(self._error) from self._error
        turned = look_angles(block.weights, self._info.weight_names, block.head_pose)
        self._waiting.put(np.concatenate([np.clip(block.weights[:, self._columns], 0.0, 1.0), turned], axis=1))

    def _run(self) -> None:
        try:
            while (rows := self._waiting.get()) is not None and self.pace.play(rows):
                pass
        except OSError as error:
            self._error = error

    def _send(self, frame: int, row: NDArray[np.float64]) -> None:
        data = packet(frame, self._rate, row, subject=self.receiver.subject, device=self._device)
        try:
            self._socket.send(data)
        except ConnectionRefusedError:  # the answer to an earlier packet: nobody is there, which may change
            if not self._deaf:
                log.warning("live: nobody listens on %s yet", self.receiver.name)
            self._deaf = True
            self._socket.send(data)

    def _refused(self, error: OSError) -> InputError:
        return InputError(f"cannot send to {self.receiver.name}: {error.strerror or error}; check host and network")


def _split(text: str) -> tuple[str, int]:
    host, port = text.strip(), str(PORT)
    if host.startswith("[") and "]" in host:
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"--live wants HOST or HOST:PORT with a port in 1..65535, got {text!r}; try 127.0.0.1:{PORT}")
    return host, int(port)
