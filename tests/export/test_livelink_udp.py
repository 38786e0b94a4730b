"""Packets are received on a real socket and taken apart by a decoder written from the layout alone."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from parlante.core import Animation, InputError
from parlante.export import AnimationInfo, frame_blocks
from parlante.export.livelink_csv import COLUMNS
from parlante.export.livelink_udp import Clock, LiveLinkSender, Pace, Receiver, find_receiver, rate_of

# What receivers call the values, in their order (USD and CSV have others).
PACKET_NAMES = (
    "EyeBlinkLeft EyeLookDownLeft EyeLookInLeft EyeLookOutLeft EyeLookUpLeft EyeSquintLeft EyeWideLeft EyeBlinkRight "
    "EyeLookDownRight EyeLookInRight EyeLookOutRight EyeLookUpRight EyeSquintRight EyeWideRight JawForward JawLeft "
    "JawRight JawOpen MouthClose MouthFunnel MouthPucker MouthLeft MouthRight MouthSmileLeft MouthSmileRight "
    "MouthFrownLeft MouthFrownRight MouthDimpleLeft MouthDimpleRight MouthStretchLeft MouthStretchRight "
    "MouthRollLower MouthRollUpper MouthShrugLower MouthShrugUpper MouthPressLeft MouthPressRight MouthLowerDownLeft "
    "MouthLowerDownRight MouthUpperUpLeft MouthUpperUpRight BrowDownLeft BrowDownRight BrowInnerUp BrowOuterUpLeft "
    "BrowOuterUpRight CheekPuff CheekSquintLeft CheekSquintRight NoseSneerLeft NoseSneerRight TongueOut HeadYaw "
    "HeadPitch HeadRoll LeftEyeYaw LeftEyePitch LeftEyeRoll RightEyeYaw RightEyePitch RightEyeRoll"
)
NAMES = PACKET_NAMES.split()


def decode(data: bytes) -> dict:
    """Version, device, subject, frame number, part of a frame, rate, and the values by name."""
    assert data[0] == 6
    place = 1
    texts = []
    for _ in range(2):
        length = int.from_bytes(data[place : place + 4], "big")
        texts.append(data[place + 4 : place + 4 + length].decode("utf-8"))
        place += 4 + length
    frame, part, numerator, denominator = struct.unpack_from(">ifii", data, place)
    count = data[place + 16]
    assert count == 61 and len(data) == place + 17 + 4 * count, "nothing more, nothing less"
    values = struct.unpack_from(">61f", data, place + 17)
    return {
        "device": texts[0],
        "subject": texts[1],
        "frame": frame,
        "part": part,
        "rate": (numerator, denominator),
        "values": dict(zip(NAMES, values)),
    }


class FakeClock(Clock):
    """Time passes when somebody waits, or when the test says so."""

    def __init__(self, midnight: float = 3600.0) -> None:
        super().__init__()
        self.time, self.midnight = 100.0, midnight

    def now(self) -> float:
        return self.time

    def since_midnight(self) -> float:
        return self.midnight

    def wait(self, seconds: float) -> bool:
        self.time += max(seconds, 0.0)
        return super().wait(0)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(20)
        yield heard


def receiver_at(listener: socket.socket, **more: str) -> Receiver:
    return find_receiver(f"127.0.0.1:{listener.getsockname()[1]}", **more)


def test_every_frame_arrives_with_61_values_in_their_order(
    animation: Animation, info: AnimationInfo, listener: socket.socket
) -> None:
    with LiveLinkSender(receiver_at(listener, subject="Zoë"), info, FakeClock()) as sender:
        for block in frame_blocks(animation, 7):
            sender.write(block)
    seen = [decode(listener.recv(2048)) for _ in range(20)]
    assert sender.pace.sent == 20 and sender.pace.late == 0
    assert [packet["frame"] for packet in seen] == list(range(3600 * 30, 3600 * 30 + 20))
    assert {(packet["subject"], packet["rate"], packet["part"]) for packet in seen} == {("Zoë", (30, 1), 0.0)}
    assert len({packet["device"] for packet in seen}) == 1 and len(seen[0]["device"]) == 36
    for packet, weights, pose in zip(seen, animation.weights, animation.head_pose):
        for name, weight in zip(animation.weight_names, weights):
            assert packet["values"][name[0].upper() + name[1:]] == pytest.approx(weight, abs=1e-7), name
        assert packet["values"]["HeadPitch"] == pytest.approx(pose[0], abs=1e-6)
        assert packet["values"]["HeadYaw"] == pytest.approx(-pose[1], abs=1e-6)
    assert sorted(NAMES) == sorted(COLUMNS[2:]), "the same names as the file's columns, which has another order"


def test_left_comes_before_right(animation: Animation, info: AnimationInfo, listener: socket.socket) -> None:
    """Where the CSV of the same app has them the other way round."""
    weights = np.zeros((1, 52), np.float32)
    weights[0, info.weight_names.index("jawLeft")] = 1
    weights[0, info.weight_names.index("mouthRight")] = 0.5
    one = replace(animation, vertices=animation.vertices[:1], weights=weights, head_pose=None, wrinkle=None)
    with LiveLinkSender(receiver_at(listener), info, FakeClock()) as sender:
        sender.write(next(frame_blocks(one)))
    data = listener.recv(2048)
    values = struct.unpack(">61f", data[-244:])
    assert [values[number] for number in (15, 16, 21, 22)] == [1, 0, 0, 0.5]


def test_frames_are_sent_when_they_are_due() -> None:
    clock, sent = FakeClock(), []
    pace = Pace(lambda frame, row: sent.append((frame, clock.now(), row[0])), Fraction(25), clock)
    assert pace.play(np.arange(3.0)[:, None]) and pace.play(np.arange(3.0, 5.0)[:, None])
    assert [frame for frame, _, _ in sent] == [90000, 90001, 90002, 90003, 90004]
    np.testing.assert_allclose([when for _, when, _ in sent], 100 + np.arange(5) / 25)
    assert [row for *_, row in sent] == [0, 1, 2, 3, 4] and pace.late == 0


def test_late_frames_are_sent_at_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    clock, sent = FakeClock(), []
    pace = Pace(lambda frame, row: sent.append(clock.now()), Fraction(10), clock)
    pace.play(np.zeros((2, 61)))  # at 0 and 0.1 s
    clock.time += 0.45  # the talker takes until 0.55 s for what was due at 0.2, 0.3, 0.4, ... s
    pace.play(np.zeros((6, 61)))
    np.testing.assert_allclose(np.array(sent) - 100, [0, 0.1, 0.55, 0.55, 0.55, 0.55, 0.6, 0.7])
    assert pace.late == 3 and pace.worst == pytest.approx(0.35), "0.2, 0.3 and 0.4: 0.5 is late by less than a frame"
    assert caplog.text.count("late") == 1 and "frame 2 is 0.35 s late" in caplog.text


def test_numbers_begin_again_at_midnight() -> None:
    clock, sent = FakeClock(midnight=86400 - 0.05), []
    pace = Pace(lambda frame, row: sent.append(frame), Fraction(30), clock)
    pace.play(np.zeros((4, 61)))
    assert sent == [2591998, 2591999, 0, 1]


def test_an_error_or_interrupt_ends_it_at_once(
    animation: Animation, info: AnimationInfo, listener: socket.socket
) -> None:
    slow = replace(info, fps=0.001)  # twenty frames in 5 hours
    with pytest.raises(KeyboardInterrupt), LiveLinkSender(receiver_at(listener), slow) as sender:
        sender.write(next(frame_blocks(animation)))
        decode(listener.recv(2048))
        raise KeyboardInterrupt
    assert sender.pace.sent == 1 and not sender._thread.is_alive()


def test_nobody_listening_is_said_and_is_no_error(
    animation: Animation, info: AnimationInfo, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = receiver_at(listener)
    listener.close()
    with LiveLinkSender(receiver, info, FakeClock()) as sender:
        for block in frame_blocks(animation):
            sender.write(block)
    assert sender.pace.sent == 20
    assert caplog.text.count("nobody listens on 127.0.0.1:") == 1


@pytest.mark.parametrize(
    "fps, wanted", [(30, (30, 1)), (29.97, (30000, 1001)), (23.976, (24000, 1001)), (12.5, (25, 2))]
)
def test_rates(fps: float, wanted: tuple[int, int]) -> None:
    rate = rate_of(fps)
    assert (rate.numerator, rate.denominator) == wanted


@pytest.mark.parametrize(
    "text, address",
    [("127.0.0.1", ("127.0.0.1", 11111)), ("localhost:9", ("127.0.0.1", 9)), ("127.9.9.9:54321", ("127.9.9.9", 54321))],
)
def test_this_machine_is_allowed(text: str, address: tuple[str, int]) -> None:
    assert find_receiver(text).address[:2] == address


@pytest.mark.parametrize("text", ["192.0.2.7", "0.0.0.0:11111", "[2001:db8::1]:11111", "255.255.255.255"])
def test_other_machines_only_when_asked_for(text: str) -> None:
    with pytest.raises(InputError, match="--allow-remote"):
        find_receiver(text)
    assert find_receiver(text, allow_remote=True).address[1] == 11111


@pytest.mark.parametrize("text", ["", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:http", "[::1"])
def test_what_is_no_receiver(text: str) -> None:
    with pytest.raises(InputError, match=r"HOST|host"):
        find_receiver(text)


def test_names_that_cannot_be_sent() -> None:
    with pytest.raises(InputError, match="subject"):
        find_receiver("127.0.0.1", subject="")
    with pytest.raises(InputError, match="cannot find the host"):
        find_receiver("no.such.host.invalid")


def test_an_animation_without_weights_is_refused(
    animation: Animation, info: AnimationInfo, listener: socket.socket
) -> None:
    with pytest.raises(InputError, match="no ARKit weights"):
        LiveLinkSender(receiver_at(listener), replace(info, weight_names=()))


def test_somebody_elses_reader_understands(animation: Animation, info: AnimationInfo, listener: socket.socket) -> None:
    """PyLiveLinkFace, which Unreal's users receive the app with."""
    reader = pytest.importorskip("pylivelinkface.pylivelinkface", reason="pip install pylivelinkface timecode")
    with LiveLinkSender(receiver_at(listener, subject="Ada"), info, FakeClock()) as sender:
        sender.write(next(frame_blocks(animation, 1)))
    found, face = reader.PyLiveLinkFace.decode(listener.recv(2048))
    assert found and (face.name, face.fps, face._denominator, face._frames) == ("Ada", 30, 1, 3600 * 30)
    for name, weight in zip(animation.weight_names, animation.weights[0]):
        shape = reader.FaceBlendShape[name[0].upper() + name[1:]]
        assert face.get_blendshape(shape) == pytest.approx(weight, abs=1e-7), name
