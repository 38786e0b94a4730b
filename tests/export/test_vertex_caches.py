"""PC2, MDD and Maya caches, read back bit for bit by readers that know nothing of the writers."""

import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parlante.core import Animation, InputError
from parlante.export import AnimationInfo, frame_blocks
from parlante.export.outputs import write_all
from parlante.geometry.pose import apply_head_pose, neck_weights


@pytest.fixture
def still(animation: Animation) -> Animation:
    return replace(animation, head_pose=None)


def read_pc2(path: Path) -> np.ndarray:
    data = path.read_bytes()
    magic, version, points, start, rate, samples = struct.unpack_from("<12siiffi", data)
    assert (magic, version, start, rate) == (b"POINTCACHE2\0", 1, 0.0, 1.0)
    assert len(data) == 32 + samples * points * 12
    return np.frombuffer(data, "<f4", offset=32).reshape(samples, points, 3)


def read_mdd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    data = path.read_bytes()
    frames, points = struct.unpack_from(">ii", data)
    times = np.frombuffer(data, ">f4", frames, 8)
    assert len(data) == 8 + 4 * frames + frames * points * 12
    return times, np.frombuffer(data, ">f4", offset=8 + 4 * frames).reshape(frames, points, 3)


def iff(data: bytes) -> list[tuple[bytes, bytes]]:
    """(key, content) of the blocks in an IFF group."""
    blocks, at = [], 0
    while at < len(data):
        key, size = struct.unpack_from(">4si", data, at)
        blocks.append((key, data[at + 8 : at + 8 + size]))
        at += 8 + size + -size % 4
    assert at == len(data)
    return blocks


def test_pc2_holds_the_vertices_bit_for_bit(info: AnimationInfo, still: Animation, tmp_path: Path) -> None:
    write_all(info, frame_blocks(still, 7), [tmp_path / "a.pc2"])
    np.testing.assert_array_equal(read_pc2(tmp_path / "a.pc2"), still.vertices)


def test_npy_holds_the_vertices_as_the_published_methods_keep_them(
    info: AnimationInfo, animation: Animation, tmp_path: Path
) -> None:
    assert info.has_pose
    write_all(info, frame_blocks(animation, 7), [tmp_path / "a.npy"])
    found = np.load(tmp_path / "a.npy")
    assert found.shape == (20, 3 * info.topology.num_vertices) and found.dtype == np.float32
    np.testing.assert_array_equal(found.reshape(20, -1, 3), animation.vertices)


def test_mdd_holds_the_vertices_bit_for_bit(info: AnimationInfo, still: Animation, tmp_path: Path) -> None:
    write_all(info, frame_blocks(still, 7), [tmp_path / "a.mdd"])
    times, vertices = read_mdd(tmp_path / "a.mdd")
    np.testing.assert_array_equal(vertices, still.vertices)
    np.testing.assert_allclose(times, np.arange(20) / 30, atol=1e-6)


def test_maya_cache_holds_the_vertices_bit_for_bit(info: AnimationInfo, still: Animation, tmp_path: Path) -> None:
    write_all(info, frame_blocks(still, 7), [tmp_path / "a.mc"])
    groups = iff((tmp_path / "a.mc").read_bytes())
    assert [key for key, _ in groups] == [b"FOR4"] * 21
    assert len(groups[0][1]) == 40 and groups[0][1][:4] == b"CACH"
    head = dict(iff(groups[0][1][4:]))
    assert head == {b"VRSN": b"0.1\0", b"STIM": struct.pack(">i", 0), b"ETIM": struct.pack(">i", 19 * 200)}
    for frame, (_, group) in enumerate(groups[1:]):
        assert group[:4] == b"MYCH"
        blocks = dict(iff(group[4:]))
        assert struct.unpack(">i", blocks[b"TIME"]) == (frame * 200,)
        assert blocks[b"CHNM"] == b"FaceShape\0"
        assert struct.unpack(">i", blocks[b"SIZE"]) == (144,)
        np.testing.assert_array_equal(np.frombuffer(blocks[b"FVCA"], ">f4").reshape(-1, 3), still.vertices[frame])


def test_the_xml_beside_describes_the_maya_cache(info: AnimationInfo, still: Animation, tmp_path: Path) -> None:
    write_all(info, frame_blocks(still), [tmp_path / "a.mc"])
    root = ElementTree.parse(tmp_path / "a.xml").getroot()
    assert root.tag == "Autodesk_Cache_File"
    found = {child.tag: child.attrib for child in root}
    assert found["cacheType"] == {"Type": "OneFile", "Format": "mcc"}
    assert found["time"] == {"Range": "0-3800"} and found["cacheTimePerFrame"] == {"TimePerFrame": "200"}
    channel = root.find("Channels/channel0")
    assert channel is not None and channel.attrib["ChannelName"] == "FaceShape"
    assert channel.attrib["ChannelType"] == "FloatVectorArray" and channel.attrib["EndTime"] == "3800"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mc", "a.xml"]


def test_a_rate_that_maya_cannot_count_is_refused(info: AnimationInfo, still: Animation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"6000 ticks.*29\.97.*--fps"):
        write_all(replace(info, fps=29.97), frame_blocks(still), [tmp_path / "a.mc"])
    assert not list(tmp_path.iterdir())


def test_the_head_pose_is_in_the_vertices(info: AnimationInfo, animation: Animation, tmp_path: Path) -> None:
    write_all(info, frame_blocks(animation, 7), [tmp_path / "a.pc2"])
    share = neck_weights(animation.neutral, info.pivot, info.topology)
    posed = apply_head_pose(animation.vertices, animation.head_pose, info.pivot, share)
    np.testing.assert_array_equal(read_pc2(tmp_path / "a.pc2"), posed)
    assert np.abs(posed - animation.vertices).max() > 0.01
