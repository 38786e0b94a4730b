"""Every reader of files that people bring, with the smallest files that it takes."""

import io
import json
import pickle
import tarfile
import wave
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from fuzzing import Reader
from PIL import Image

RNG = np.random.default_rng(0)
FACE = RNG.normal(0, 0.1, (5, 3)).astype(np.float32)
TRIANGLES = np.array([[0, 1, 2], [2, 3, 4]], np.int32)
FRAMES = 12


def _sound(count: int = 6400) -> np.ndarray:
    return np.random.default_rng(1).integers(-9000, 9000, count).astype("<i2")


def _wav(path: Path, count: int = 6400) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(_sound(count).tobytes())


def _encoded(path: Path, codec: str) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16000)
        frame = av.AudioFrame.from_ndarray(_sound()[None], format="s16", layout="mono")
        frame.sample_rate = 16000
        resampler = av.AudioResampler(format=stream.codec_context.format or "s16", layout="mono", rate=16000)
        for packet in [p for f in resampler.resample(frame) for p in stream.encode(f)] + stream.encode(None):
            container.mux(packet)


def _png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 4, 3), np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def _put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _motion(count: int = 5, frames: int = FRAMES) -> np.ndarray:
    face = np.resize(FACE, (count, 3))
    return (face + np.random.default_rng(2).normal(0, 0.002, (frames, count, 3))).astype(np.float32)


def _obj_text() -> str:
    lines = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in FACE] + [f"vt 0.{k} 0.{k}" for k in range(1, 6)]
    lines += ["f 1/1 2/2 3/3", "f 3/3 4/4 5/5", "f 1/1 2/2 3/3 4/4"]
    return "\n".join(lines) + "\n"


def _read_corpus(root: Path) -> None:
    """Everything a corpus gives."""
    from parlante.data.open import open_corpus
    from parlante.data.store import clip_store as store

    store._opened.cache_clear()
    _read_clips(open_corpus(root))


def _read_clips(corpus: Any) -> None:
    _ = corpus.topology.triangles
    for subject in list(corpus.subjects):
        try:
            corpus.identity(subject)
        except ValueError as error:
            from parlante.core import InputError

            if not isinstance(error, InputError):
                raise
    for index in range(len(corpus)):
        clip = corpus[index]
        np.asarray(clip.vertices[:])
        np.asarray(clip.vertices[1:2])
        if clip.textures is not None:
            np.asarray(clip.textures[:2])


# -- meshes


def _obj(root: Path) -> None:
    _put(root / "face.obj", _obj_text().encode())


def _read_obj(root: Path) -> None:
    from parlante.geometry.mesh import read_mesh
    from parlante.geometry.obj import read_obj, read_vertices

    _ = read_obj(root / "face.obj").triangles
    read_vertices(root / "face.obj")
    read_mesh(root / "face.obj")


def _ply(root: Path) -> None:
    head = "ply\nformat {} 1.0\nelement vertex 5\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    text = "".join(f"{x} {y} {z}\n" for x, y, z in FACE) + "".join(f"3 {a} {b} {c}\n" for a, b, c in TRIANGLES)
    (root / "text.ply").write_text(head.format("ascii") + text)
    body = FACE.astype("<f4").tobytes() + b"".join(b"\x03" + row.astype("<i4").tobytes() for row in TRIANGLES)
    (root / "packed.ply").write_bytes(head.format("binary_little_endian").encode() + body)


def _read_ply(root: Path) -> None:
    from parlante.geometry.mesh import read_mesh

    read_mesh(root / "text.ply")
    read_mesh(root / "packed.ply")


# -- sound


def _audio(root: Path) -> None:
    _wav(root / "a.wav")
    _encoded(root / "b.flac", "flac")
    _encoded(root / "c.mp3", "mp3")


def _read_audio(root: Path) -> None:
    from parlante.audio.io import read_audio

    for name in ("a.wav", "b.flac", "c.mp3"):
        samples = read_audio(root / name)
        assert np.isfinite(samples).all()


# -- our own files


def _animation(root: Path) -> None:
    np.savez(
        root / "take.npz",
        vertices=_motion(), fps=np.float64(30), topology=np.array("sheet"), triangles=TRIANGLES,
        audio=(_sound() / 32768).astype(np.float32), sample_rate=np.int64(16000), neutral=FACE,
        uv=np.abs(FACE[:, :2]), uv_triangles=TRIANGLES, weights=np.zeros((FRAMES, 2), np.float32),
        weight_names=np.array(["a", "b"]), head_pose=np.zeros((FRAMES, 6), np.float32),
        wrinkle=np.full((FRAMES, 4, 4, 3), 118, np.uint8), provenance=np.array('{"seed": 1}'),
    )  # fmt: skip


def _read_animation(root: Path) -> None:
    from parlante.export.npz import describe, load, open_stream

    describe(root / "take.npz")
    load(root / "take.npz")
    _, chunks = open_stream(root / "take.npz", 5)
    for chunk in chunks:
        assert len(chunk.vertices)


def _style(root: Path) -> None:
    from parlante.core.style import Style, save_style

    motion, wrinkle = RNG.normal(size=(2, 3, 4, 4)).astype(np.float32)
    save_style(Style(motion, wrinkle, "ann", "textalker", "0" * 16), root / "ann.style")


def _read_style(root: Path) -> None:
    from parlante.core.style import load_style

    load_style(root / "ann.style")


def _checkpoint(root: Path) -> None:
    import torch

    from parlante.models.checkpoint import save_checkpoint

    save_checkpoint(root / "model", "faceformer", {"width": 4}, {"a.weight": torch.ones(4, 4)})


def _read_checkpoint(root: Path) -> None:
    from parlante.models.checkpoint import load_checkpoint

    load_checkpoint(root / "model")


def _character(root: Path) -> None:
    """A mesh with a morph target and a bone, as a binary glTF."""
    import struct

    parts = [FACE.tobytes(), (0.01 * FACE).astype("<f4").tobytes(), TRIANGLES.astype("<u2").tobytes()]
    views, at = [], 0
    for part in parts:
        views.append({"buffer": 0, "byteOffset": at, "byteLength": len(part)})
        at += len(part)
    accessors = [
        {"bufferView": k, "componentType": kind, "count": count, "type": of}
        for k, (kind, count, of) in enumerate(((5126, 5, "VEC3"), (5126, 5, "VEC3"), (5123, 6, "SCALAR")))
    ]
    mesh = {"name": "face", "extras": {"targetNames": ["jawOpen"]},
            "primitives": [{"attributes": {"POSITION": 0}, "targets": [{"POSITION": 1}], "indices": 2}]}  # fmt: skip
    tree = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "head", "children": [1]}, {"mesh": 0, "name": "face"}], "meshes": [mesh],
        "buffers": [{"byteLength": at}], "bufferViews": views, "accessors": accessors,
    }  # fmt: skip
    text, data = json.dumps(tree).encode(), b"".join(parts)
    text, data = text + b" " * (-len(text) % 4), data + bytes(-len(data) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    (root / "face.glb").write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)


def _read_character(root: Path) -> None:
    from parlante.retarget.mesh.mesh import read_character_mesh
    from parlante.retarget.rig.rigged import read_rig

    read_character_mesh(root / "face.glb")
    rig = read_rig(root / "face.glb")
    if rig.useful:
        rig.describe()
        rig.animated(np.full((3, 52), 0.3, np.float32), 30.0, np.zeros((3, 6)))


def _recipe(root: Path) -> None:
    (root / "small.yaml").write_text(
        "stage: phonetic\ndata: {corpus: a, valid: b, hours: 3.6}\nscheme:\n  batch: 16\n"
        "loop: {max_steps: 10, lr: 1.0e-3}\n"
    )
    np.savez(root / "shapes.npz", shapes=np.zeros((2, 5, 3), np.float32), names=np.array(["a", "b"]))


def _read_recipe(root: Path) -> None:
    from parlante.export.edit import read_shapes
    from parlante.training import find_stage
    from parlante.training.engine.recipe import read_recipe

    recipe = read_recipe(root / "small.yaml")
    find_stage(recipe["stage"]).read(recipe)
    read_shapes(root / "shapes.npz")


# -- what others' projects write


def _pickles(root: Path) -> None:
    value = {"ann": FACE, "bob": {"s": [1, 2.5, "x", None, (True, b"y")], "big": np.arange(9).reshape(3, 3)}}
    for protocol in (0, 2, 4):
        (root / f"p{protocol}.pkl").write_bytes(pickle.dumps(value, protocol=protocol))


def _read_pickles(root: Path) -> None:
    from parlante.core.restricted_pickle import read_pickle

    for protocol in (0, 2, 4):
        read_pickle(root / f"p{protocol}.pkl")


def _containers(root: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = OrderedDict({"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3).half()})
    torch.save({"state_dict": state, "epoch": 3}, root / "new.pth")
    torch.save(state, root / "old.pth", _use_new_zipfile_serialization=False)
    save_file({key: value.contiguous() for key, value in state.items()}, root / "plain.safetensors")


def _read_containers(root: Path) -> None:
    from parlante.models.importing.containers import read_tensors

    for name in ("new.pth", "old.pth", "plain.safetensors"):
        read_tensors(root / name)


def _templates(root: Path) -> None:
    np.savez(root / "t.npz", neutral=FACE, triangles=TRIANGLES, uv=np.abs(FACE[:, :2]), uv_triangles=TRIANGLES)
    (root / "t.pkl").write_bytes(pickle.dumps({"ann": FACE, "bob": FACE.astype(float)}, protocol=2))
    np.savez(root / "pivots.npz", motion=np.zeros((2, 3, 3), np.float32), wrinkle=np.ones((2, 3, 3), np.float32))
    stats = {f"{kind}_{axis}": value for kind, value in (("gmin", -1.0), ("gmax", 1.0)) for axis in range(3)}
    (root / "stats.json").write_text(json.dumps({**stats, "scale": 1.0}))


def _read_templates(root: Path) -> None:
    from parlante.models.importing.templates import read_templates
    from parlante.models.textalker.import_ import read_stats
    from parlante.models.textalker.pivot_files import read_pivots

    read_templates([root / "t.npz"])
    read_templates([root / "t.pkl"])
    read_pivots(root, {"motion": (2, 3, 3), "wrinkle": (2, 3, 3)})
    read_stats(root / "stats.json")


# -- corpora


def _textalk4d(root: Path) -> None:
    for name in ("ID001", "ID002"):
        for number in range(1, 5):
            _put(root / name / "Models" / f"{number:06d}" / "face_aligned.obj", _obj_text().encode())
            _put(root / name / "Textures_512" / f"{number:06d}" / "face.png", _png(number))
        _wav(root / name / "Records" / "enhanced_vocal.wav", 4 * 16000 // 30 + 1)


def _read_textalk4d(root: Path) -> None:
    from parlante.data.datasets.textalk4d import TexTalk4D

    _read_clips(TexTalk4D(root, held_out=1, shortest=1))


def _synthtalk(root: Path) -> None:
    rows = []
    for subject in ("ann", "bob"):
        (root / "clips" / subject).mkdir(parents=True)
        np.savez(
            root / "clips" / subject / "000.npz",
            audio=_sound(), curves=np.zeros((FRAMES, 52), np.float16), head_pose=np.zeros((FRAMES, 6), np.float32),
            phone_symbols=np.array([0, 1], np.uint8), phone_times=np.array([[0, 0.2], [0.2, 0.4]], np.float32),
        )  # fmt: skip
        rows.append({"key": f"{subject}/000", "subject": subject, "split": "train", "text": "Hello.",
                     "frames": FRAMES, "samples": 6400})  # fmt: skip
    people = [{"name": n, "identity": n, "voice": "v", "manner": {"wrinkle_depth": 1.0}} for n in ("ann", "bob")]
    index = {"format": 1, "fps": 30.0, "sample_rate": 16000, "phones": ["sil", "aa"], "subjects": people, "clips": rows}
    (root / "index.json").write_text(json.dumps(index))


def _read_synthtalk(root: Path) -> None:
    from parlante.core import Identity, InputError
    from parlante.data.meshes import bare_topology

    def known(name: object) -> object:
        if name not in ("ann", "bob"):
            raise InputError(f"no embedded identity is called {name!r}")
        return name

    topology = bare_topology("sheet", len(FACE))
    shapes = np.zeros((52, *FACE.shape), np.float32)
    head = SimpleNamespace(
        topology=topology,
        identity=lambda name: Identity(str(known(name)), topology, FACE),
        neutral=lambda name: (known(name), FACE)[1],
        shapes=lambda name: (known(name), shapes)[1],
    )
    with mock.patch("parlante.head.load_head", lambda: head):
        _read_corpus(root)


def _store(root: Path) -> None:
    from parlante.core import Clip, Topology
    from parlante.data.contract import SubjectInfo
    from parlante.data.store.writer import StoreWriter

    uv = np.abs(FACE[:, :2])
    writer = StoreWriter(root, dataset="mine", fps=30, unit="m", topology=Topology("mine", 5, TRIANGLES, uv, TRIANGLES))
    writer.subject(SubjectInfo(name="ann"), FACE, _png())
    sound = (_sound() / 32768).astype(np.float32)
    for number in range(2):
        clip = Clip(sound, 16000, _motion(frames=40), 30.0, "ann", f"ann_{number}")
        writer.add(clip, "train", pictures=[_png(k) for k in range(40)])
    writer.finish()


def _folder(root: Path) -> None:
    (root / "vertices_npy").mkdir()
    for number, subject in enumerate(("ann", "bob")):
        np.save(root / f"vertices_npy/{subject}_01.npy", _motion() if number else _motion().reshape(FRAMES, -1))
        _wav(root / f"wav/{subject}_01.wav")
    (root / "templates.pkl").write_bytes(pickle.dumps({"ann": FACE, "bob": FACE.ravel()}, protocol=2))
    _put(root / "face.obj", _obj_text().encode())
    (root / "splits.json").write_text(json.dumps({"train": ["ann"], "test_unseen": ["bob"]}))
    for frame in range(FRAMES):
        _put(root / "textures" / "ann_01" / f"{frame:03}.png", _png(frame))


def _vocaset(root: Path) -> None:
    name = "FaceTalk_170728_03272_TA"
    np.save(root / "data_verts.npy", _motion(5, 24))
    index = {name: {"sentence01": {k: 23 - k for k in range(12)}, "sentence25": {k: k for k in range(12)}}}
    audio = {name: {s: {"audio": _sound(4400), "sample_rate": 22000} for s in index[name]}}
    for file, value in (("subj_seq_to_idx", index), ("raw_audio_fixed", audio), ("templates", {name: FACE})):
        (root / f"{file}.pkl").write_bytes(pickle.dumps(value, protocol=2))


def _biwi(root: Path) -> None:
    frames = [len(FACE).to_bytes(4, "little") + (100 * v).astype("<f4").tobytes() for v in _motion()]
    for subject, sequence in (("F2", "e01"), ("F1", "e40")):
        path = root / f"faces/{subject}/{sequence}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for number, content in enumerate(frames, 1):
                info = tarfile.TarInfo(f"frame_{number:03}.vl")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        _put(root / f"rigid_scans/{subject}.obj", _obj_text().encode())
        _wav(root / f"audio/{subject}_{sequence}.wav", 7680)


def _mead(root: Path) -> None:
    for person, clip in (("M003", "front/neutral/level_1/002"), ("M032", "front/happy/level_3/001")):
        path = root / person / "video" / f"{clip}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, {"verts": _motion(5023, 4), "beta": np.zeros((4, 9))}, allow_pickle=True)  # type: ignore[arg-type]
        _wav(root / person / "audio" / f"{clip.partition('/')[2]}.wav", 2134)


def _multiface(root: Path) -> None:
    folder = root / "m--20180227--0000--6795937--GHS"
    sentence = "SEN_alfalfa_is_healthy_for_you"
    for segment, numbers in ((sentence, range(300, 300 + 3 * 33, 3)), ("E001_Neutral_Eyes_Open", (102, 105))):
        for number in numbers:
            _put(folder / "tracked_mesh" / segment / f"{number:06}.bin", (1000 * FACE).astype("<f4").tobytes())
            _put(folder / "unwrapped_uv_1024" / segment / "average" / f"{number:06}.png", _png(number))
    _put(folder / "tracked_mesh" / "E001_Neutral_Eyes_Open" / "000102.obj", _obj_text().encode())
    _wav(folder / "audio" / f"{sentence}.wav", 33 * 16000 // 30)
    _put(folder / "vert_mean.bin", (1000 * FACE).astype("<f4").tobytes())


# -- headers


def _report(root: Path) -> None:
    row = {"frames": 3, "predictions": 1, "values": {"mve": 1.0, "lip_error": 0.5}}
    models = {"x": {"clips": {"a": row, "b": row}, "facts": {}}, "y": {"clips": {"a": row, "b": row}}}
    clips = {key: {"subject": "s", "frames": 3} for key in "ab"}
    report = {"format": "parlante-evaluation/1", "data": "d", "dataset": "d", "protocol": None, "unit": "m", "seed": 0}
    (root / "report.json").write_text(json.dumps({**report, "clips": clips, "models": models}))


def _read_report(root: Path) -> None:
    from parlante.evaluation import compare
    from parlante.evaluation.results import load_results

    results = compare.joined({"one": load_results(root / "report.json")})
    compare.table(compare.rank(results, "mve"))


def _small_headers(root: Path) -> None:
    places = {name: [0.1 * k, 0.2, 0.3 * k] for k, name in enumerate(("chin", "nose_tip", "mouth_left", "mouth_right"))}
    (root / "landmarks.json").write_text(json.dumps({**places, "mouth_right": 3}))
    curves = {"mouth*": {"gain": 0.9}, "jawOpen": {"gain": 1.2, "offset": -0.02, "max": 0.8}}
    (root / "calibration.json").write_text(json.dumps({"parlante_calibration": 1, "curves": curves}))
    (root / "regions.json").write_text(json.dumps({"lips": [0, 1], "skin": [2, 3, 4]}))
    (root / "place").mkdir()
    turn = {"scale": 1.0, "rotation": np.eye(3).tolist(), "shift": [0, 0, 0], "pivot": [0, 0, 0], "format": 1}
    (root / "place" / "config.json").write_text(json.dumps(turn))
    shapes = np.zeros((2, 5, 3), np.float16)
    np.savez(root / "place" / "shapes.npz", millimetres=shapes, names=np.array(["a", "b"]))


def _read_small_headers(root: Path) -> None:
    from parlante.evaluation.evaluation import read_regions
    from parlante.export.calibration import Calibration
    from parlante.export.edit import read_shapes
    from parlante.retarget.mesh.build import read_landmarks
    from parlante.retarget.mesh.mesh import UserMesh
    from parlante.retarget.mesh.prior import face_prior

    empty = np.zeros((1, 3), np.int64)
    read_landmarks(root / "landmarks.json", face_prior(), UserMesh("m", FACE.astype(float), empty, FACE[:1, :2], empty))
    Calibration.read(root / "calibration.json").apply(np.zeros((2, 2), np.float32), ("jawOpen", "mouthLeft"))
    read_regions(root / "regions.json", 5)
    read_shapes(root / "place")


def _network(root: Path) -> None:
    from parlante.models.mesh_network import MeshNetwork, MeshNetworkConfig
    from parlante.models.templates import Templates

    sizes = {"motion_dim": 15, "audio_dim": 56, "width": 8, "period": 5, "subjects": 1, "layers": 1, "heads": 2}
    config = MeshNetworkConfig(
        model="faceformer", family=sizes, speech={"encoder": "phonetic", "fps": 30.0}, fps=30.0, subjects=("ann",)
    )
    faces = Templates({"ann": FACE}, TRIANGLES, np.abs(FACE[:, :2]), TRIANGLES)
    MeshNetwork(config, templates=faces).save(root / "model")


def _read_network(root: Path) -> None:
    from parlante.models.mesh_network import MeshNetwork

    MeshNetwork.from_pretrained(root / "model")


def _pictures(root: Path) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "TGA"):
        Image.fromarray(np.random.default_rng(3).integers(0, 256, (6, 4, 3), np.uint8)).save(root / kind.lower(), kind)


def _read_pictures(root: Path) -> None:
    from parlante.core.pictures import read_picture

    for path in sorted(root.iterdir()):
        assert read_picture(path).ndim == 3


READERS = (
    Reader("report", _report, _read_report),
    Reader("small headers", _small_headers, _read_small_headers),
    Reader("network", _network, _read_network),
    Reader("pictures", _pictures, _read_pictures),
    Reader("obj", _obj, _read_obj),
    Reader("ply", _ply, _read_ply),
    Reader("audio", _audio, _read_audio),
    Reader("animation", _animation, _read_animation),
    Reader("style", _style, _read_style),
    Reader("checkpoint", _checkpoint, _read_checkpoint),
    Reader("character", _character, _read_character),
    Reader("recipe", _recipe, _read_recipe),
    Reader("pickle", _pickles, _read_pickles),
    Reader("containers", _containers, _read_containers),
    Reader("templates", _templates, _read_templates),
    Reader("textalk4d", _textalk4d, _read_textalk4d),
    Reader("synthtalk", _synthtalk, _read_synthtalk),
    Reader("store", _store, _read_corpus),
    Reader("folder", _folder, _read_corpus),
    Reader("vocaset", _vocaset, _read_corpus),
    Reader("biwi", _biwi, _read_corpus),
    Reader("mead", _mead, _read_corpus),
    Reader("multiface", _multiface, _read_corpus),
)
