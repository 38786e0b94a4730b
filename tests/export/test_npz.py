"""What is written comes back, piece by piece or whole; what lies about its size is refused."""

import io
import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from parlante.core import Animation, InputError
from parlante.export import animation_info, frame_blocks, save
from parlante.export.npz import load, open_stream
from parlante.export.outputs import write_all


def test_a_round_trip_keeps_everything(animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.npz")
    back = load(tmp_path / "a.npz")
    for name in ("vertices", "wrinkle", "weights", "head_pose", "audio", "albedo", "neutral"):
        np.testing.assert_array_equal(getattr(back, name), getattr(animation, name), err_msg=name)
    assert (back.fps, back.sample_rate, back.weight_names) == (30.0, 16000, animation.weight_names)
    assert back.provenance == animation.provenance
    assert back.topology.landmarks == animation.topology.landmarks
    np.testing.assert_array_equal(back.topology.regions["skin"], animation.topology.regions["skin"])


def test_plain_numpy_opens_it_without_pickle(animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive["lip_aperture"].shape == archive["lip_width"].shape == (20,)
        up, down = (animation.topology.landmarks[name] for name in ("upper_lip_inner", "lower_lip_inner"))
        wanted = np.linalg.norm(animation.vertices[:, up] - animation.vertices[:, down], axis=-1)
        np.testing.assert_allclose(archive["lip_aperture"], wanted, rtol=1e-5)
        assert str(archive["topology"]) == "sheet"
        assert json.loads(str(archive["provenance"]))["seed"] == 3


def test_how_it_is_cut_does_not_change_the_bytes(animation: Animation, tmp_path: Path) -> None:
    for size in (1, 7, 20):
        write_all(animation_info(animation), frame_blocks(animation, size), [tmp_path / f"{size}.npz"])
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "7.npz").read_bytes() == (tmp_path / "20.npz").read_bytes()
    assert zipfile.ZipFile(tmp_path / "1.npz").testzip() is None


def test_frames_stream_back_in_pieces(animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.npz")
    info, blocks = open_stream(tmp_path / "a.npz", size=6)
    pieces = list(blocks)
    assert (info.num_frames, [len(piece) for piece in pieces]) == (20, [6, 6, 6, 2])
    np.testing.assert_array_equal(np.concatenate([piece.vertices for piece in pieces]), animation.vertices)
    np.testing.assert_array_equal(np.concatenate([piece.wrinkle for piece in pieces]), animation.wrinkle)


def _rewrite(source: Path, target: Path, **members: bytes | None) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name[:-4] not in members:
                new.writestr(name, old.read(name))
        for key, data in members.items():
            if data is not None:
                new.writestr(f"{key}.npy", data)


def _npy(array: np.ndarray, **header: object) -> bytes:
    out = io.BytesIO()
    if header:
        np.lib.format.write_array_header_1_0(out, header)
    else:
        np.save(out, array)
    return out.getvalue()


def test_a_pickle_inside_is_refused_and_not_run(animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.npz")

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    header = _npy(np.zeros(1), descr="|O", fortran_order=False, shape=(1,))
    _rewrite(tmp_path / "a.npz", tmp_path / "b.npz", provenance=header + pickle.dumps([Bomb()]))
    with pytest.raises(InputError):
        load(tmp_path / "b.npz")
    assert not (tmp_path / "exploded").exists()


def test_a_lie_about_the_size_is_refused_before_memory_is_taken(animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.npz")
    lie = _npy(np.zeros(1), descr="<f4", fortran_order=False, shape=(1 << 40, 144, 3)) + b"\0" * 64
    _rewrite(tmp_path / "a.npz", tmp_path / "b.npz", vertices=lie)
    with pytest.raises(InputError, match="announces"):
        load(tmp_path / "b.npz")
    with pytest.raises(InputError, match="of memory"):
        load(tmp_path / "a.npz", limit=1000)


@pytest.mark.parametrize(
    ("key", "array", "message"),
    [
        ("weights", np.zeros((3, 52), np.float32), "weights"),
        ("vertices", np.zeros((20, 144), np.float32), "vertices"),
        ("fps", np.asarray(0.0), "fps"),
        ("triangles", np.full((4, 3), 900, np.int32), "triangles"),
        ("audio", None, "lacks audio"),
    ],
)
def test_arrays_that_do_not_belong_together_are_named(
    key: str, array: np.ndarray | None, message: str, animation: Animation, tmp_path: Path
) -> None:
    save(animation, tmp_path / "a.npz")
    _rewrite(tmp_path / "a.npz", tmp_path / "b.npz", **{key: None if array is None else _npy(array)})
    with pytest.raises(InputError, match=message):
        load(tmp_path / "b.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -3e38])
def test_frames_of_no_finite_numbers_are_refused(value: float, animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.npz")
    vertices = animation.vertices.copy()
    vertices[13, 7, 1] = value
    _rewrite(tmp_path / "a.npz", tmp_path / "b.npz", vertices=_npy(vertices))
    with pytest.raises(InputError, match="vertices has numbers that are not finite"):
        load(tmp_path / "b.npz")
    _, blocks = open_stream(tmp_path / "b.npz", size=6)
    with pytest.raises(InputError, match="vertices has numbers that are not finite"):
        list(blocks)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(50)])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match="cannot read"):
        load(tmp_path / "a.npz")
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "absent.npz")


def test_a_damaged_or_shortened_file_is_refused(animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.npz")
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[3000] ^= 0xFF
    (tmp_path / "b.npz").write_bytes(data)
    (tmp_path / "c.npz").write_bytes(data[: len(data) // 2])
    for name in ("b.npz", "c.npz"):
        with pytest.raises(InputError):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("key", "array", "message"),
    [
        ("weight_names", np.array("x"), "weight_names"),
        ("provenance", np.array("[" * 5000), "nested too deeply"),
        ("provenance", np.array("{"), "provenance"),
        ("fps", np.asarray([30.0, 30.0]), "fps"),
        ("fps", np.asarray(np.nan), "fps"),
        ("fps", np.asarray(1e-300), "fps"),
        ("sample_rate", np.asarray([16000] * 2, np.int32), "sample_rate"),
        ("sample_rate", np.asarray(2**62), "sample_rate"),
        ("topology", np.array("x" * 5000), "topology claims"),
        ("neutral", np.full((144, 3), np.nan, np.float32), "neutral has numbers that are not finite"),
        ("audio", np.full(100, np.inf, np.float32), "audio has numbers"),
        ("neutral", np.zeros((5000, 3), np.float32), "neutral claims"),
        ("landmark_chin", np.zeros(100), "landmark_chin claims"),
        ("pivot", np.zeros(100), "pivot claims"),
    ],
)
def test_absurd_fields_take_one_line(
    key: str, array: np.ndarray, message: str, animation: Animation, tmp_path: Path
) -> None:
    save(animation, tmp_path / "a.npz")
    _rewrite(tmp_path / "a.npz", tmp_path / "b.npz", **{key: _npy(array)})
    for read in (load, open_stream):
        with pytest.raises(InputError, match=message) as caught:
            read(tmp_path / "b.npz")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["audio", "triangles", "unknown", "region_skin"])
def test_zeros_do_not_take_memory(key: str, animation: Animation, tmp_path: Path) -> None:
    """An array that no such file needs is refused, or left alone if nobody asks for it."""
    save(animation, tmp_path / "a.npz")
    header = _npy(np.zeros(1), descr="<f4", fortran_order=False, shape=(1 << 24,))
    with zipfile.ZipFile(tmp_path / "a.npz") as old, zipfile.ZipFile(tmp_path / "b.npz", "w", 8) as new:
        for name in old.namelist():
            if name != f"{key}.npy":
                new.writestr(name, old.read(name))
        with new.open(f"{key}.npy", "w") as member:
            member.write(header)
            for _ in range(4):
                member.write(bytes(1 << 24))
    tracemalloc.start()
    try:
        if key == "unknown":
            assert open_stream(tmp_path / "b.npz")[0].num_frames == 20
            load(tmp_path / "b.npz")
        else:
            for read in (load, open_stream):
                with pytest.raises(InputError, match=f"{key} claims 67108864 bytes"):
                    read(tmp_path / "b.npz")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
