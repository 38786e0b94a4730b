"""The files that the documentation names: small, in the published layouts, with meshes of the published sizes."""

import io
import pickle
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from miniature import write_wav
from scipy.spatial import Delaunay
from torch import nn

from parlante.audio.encoders.weight_norm import to_old
from parlante.data.splits import VOCASET_TEST, VOCASET_TRAIN, VOCASET_VAL
from parlante.models.components.causal_decoder import periodic_positions
from parlante.models.mesh_network import MeshNetwork, MeshNetworkConfig

FLAME, BIWI = 5023, 23370
HIDDEN = 64
"""Width of the speech networks: one head, as a file of this width tells."""


def face(vertices: int, person: int = 0) -> np.ndarray:
    """(V, 3) float32: points on a bowl."""
    turn = np.arange(vertices) * 2.4
    radius = 0.1 * np.sqrt((np.arange(vertices) + 0.5) / vertices)
    z = (0.08 + 0.005 * person) * np.cos(12 * radius)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], -1).astype(np.float32)


def motion(vertices: int, frames: int, person: int, seed: int) -> np.ndarray:
    """(T, V, 3): the face, nodding and bulging."""
    rest, swing = face(vertices, person), np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32)
    time = np.arange(frames, dtype=np.float32)[:, None, None]
    return (
        rest + 0.004 * np.sin(0.5 * time + seed) * rest[:, 1:2] * swing[0] * 10 + 0.002 * np.cos(0.3 * time) * swing[1]
    )


@cache
def triangles(vertices: int) -> np.ndarray:
    """(F, 3) of `face`."""
    found: np.ndarray = Delaunay(face(vertices)[:, :2].astype(float)).simplices
    return found


def write_ply(path: Path, vertices: np.ndarray) -> None:
    faces = triangles(len(vertices))
    head = (
        f"ply\nformat ascii 1.0\nelement vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    lines = [" ".join(f"{value:.6f}" for value in row) for row in vertices]
    lines += [f"3 {a} {b} {c}" for a, b, c in faces]
    path.write_text(head + "\n".join(lines) + "\n")


def write_obj(path: Path, vertices: np.ndarray) -> None:
    lines = ["v {:.6f} {:.6f} {:.6f}".format(*v) for v in vertices]
    lines += ["f {} {} {}".format(*f) for f in triangles(len(vertices)) + 1]
    path.write_text("\n".join(lines) + "\n")


def _speech(samples: int, seed: int) -> np.ndarray:
    time = np.arange(samples) / 16000
    voice = np.sin(2 * np.pi * (110 + seed) * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    return (8000 * voice).astype("<i2")


def write_vocaset(folder: Path) -> None:
    """VOCASET's four files: a sentence each of two training speakers, a validation and a test speaker."""
    folder.mkdir()
    frames, rows, index, audio = 48, [], {}, {}
    people = [(VOCASET_TRAIN[0], 1), (VOCASET_TRAIN[1], 2), (VOCASET_VAL[0], 21), (VOCASET_TEST[0], 22)]
    for person, (name, sentence) in enumerate(people):
        first = len(rows)
        rows.extend(motion(FLAME, frames, person, sentence))
        index[name] = {f"sentence{sentence:02d}": {k: first + k for k in range(frames)}}
        audio[name] = {
            f"sentence{sentence:02d}": {"audio": _speech(16000 * frames // 60, person), "sample_rate": 16000}
        }
    templates = {name: face(FLAME, person) for person, (name, _) in enumerate(people)}
    np.save(folder / "data_verts.npy", np.stack(rows))
    for name, value in (("subj_seq_to_idx", index), ("raw_audio_fixed", audio), ("templates", templates)):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value, protocol=2))


def write_biwi(folder: Path) -> None:
    """BIWI's archive: six sequences of a seen speaker and an unseen one."""
    for number, (subject, sequence) in enumerate(
        (("F2", "e01"), ("F2", "e02"), ("F2", "e33"), ("F2", "e37"), ("F3", "e38"), ("F1", "e37"))
    ):
        path = folder / "faces" / subject / f"{sequence}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for frame, vertices in enumerate(100 * motion(BIWI, 20, 0, number), 1):
                content = BIWI.to_bytes(4, "little") + vertices.astype("<f4").tobytes()
                info = tarfile.TarInfo(f"frame_{frame:03}.vl")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        scan = folder / "rigid_scans" / f"{subject}.obj"
        scan.parent.mkdir(exist_ok=True)
        write_obj(scan, 100 * face(BIWI))
        write_wav(folder / "audio" / f"{subject}_{sequence}.wav", 20 * 16000 // 25)


def write_mead(scans: Path, sounds: Path) -> None:
    """3D-MEAD as Speech4Mesh made it, and MEAD's own sound elsewhere."""
    for person, clip in (
        ("M003", "neutral/level_1/002"),
        ("M005", "neutral/level_1/001"),
        ("M032", "neutral/level_1/001"),
        ("M037", "neutral/level_1/001"),
    ):
        path = scans / person / "video" / "front" / f"{clip}.npy"
        path.parent.mkdir(parents=True)
        vertices = {"verts": motion(FLAME, 40, 0, len(clip)), "beta": np.zeros((40, 9))}
        np.save(path, vertices, allow_pickle=True)  # type: ignore[arg-type]
        write_wav(sounds / person / "audio" / f"{clip}.wav", 40 * 16000 // 30)


def write_multiface(folder: Path) -> None:
    """One person of Multiface, one sentence and the face at rest, without pictures."""
    person, count = folder / "m--20180227--0000--6795937--GHS", 7306
    for segment, first, frames in (("SEN_alfalfa_is_healthy_for_you", 300, 40), ("E001_Neutral_Eyes_Open", 102, 1)):
        (person / "tracked_mesh" / segment).mkdir(parents=True)
        for frame, vertices in enumerate(1000 * motion(count, frames, 0, 1), first):
            path = person / "tracked_mesh" / segment / f"{frame:06}.bin"
            path.write_bytes(vertices.astype("<f4").tobytes())
    write_obj(person / "tracked_mesh" / "E001_Neutral_Eyes_Open" / "000102.obj", 1000 * face(count))
    (person / "vert_mean.bin").write_bytes((1000 * face(count)).astype("<f4").tobytes())
    write_wav(person / "audio" / "SEN_alfalfa_is_healthy_for_you.wav", 40 * 16000 // 30)


def write_recordings(folder: Path) -> None:
    """One's own recordings, in the layout that FaceFormer and others use."""
    (folder / "vertices_npy").mkdir(parents=True)
    people = ("ann", "bob")
    for number, name in enumerate(people):
        for sentence in (1, 2, 3):
            moved = motion(50, 40, number, 10 * sentence + number)
            np.save(folder / "vertices_npy" / f"{name}_{sentence:02}.npy", moved.reshape(40, -1))
            write_wav(folder / "wav" / f"{name}_{sentence:02}.wav", 40 * 16000 // 30)
    templates = {name: face(50, number) for number, name in enumerate(people)}
    (folder / "templates.pkl").write_bytes(pickle.dumps(templates, protocol=2))


def write_predictions(folder: Path) -> None:
    """What a test of FaceFormer or CodeTalker leaves in `result/`."""
    folder.mkdir()
    for number, name in ((3, "F2_e37"), (4, "F3_e38")):
        np.save(folder / f"{name}.npy", 0.9 * motion(BIWI, 20, 0, number).reshape(20, -1))


def network(*, large: bool) -> dict[str, Any]:
    """A small speech network of the base layout or the large one."""
    return {
        "model_type": "wav2vec2", "hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 12, "conv_dim": [4] * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer" if large else "group", "conv_bias": large, "do_stable_layer_norm": large,
    }  # fmt: skip


def published(model: str, vertices: int) -> dict[str, torch.Tensor]:
    """A state dict as the authors' code saves it, with random weights, for the mesh of VOCASET or BIWI."""
    torch.manual_seed(0)
    biwi, large = vertices == BIWI, model in ("talkingstyle", "ptalker")
    fps, period, subjects = (25.0, 25, 6) if biwi else (30.0, 30, 8)
    sizes: dict[str, Any] = {"motion_dim": 3 * vertices, "audio_dim": HIDDEN, "width": 8, "subjects": subjects}
    sizes |= {"period": period, "steps_per_frame": 2 if biwi else 1}
    pairs = {"kind": "pairs", "fps": 50.0, "steps_per_frame": 2}
    rate = pairs if biwi else {"kind": "aligned", "fps": 30.0, "steps_per_frame": 1}
    speech, own, emotion = {"encoder": "network", "network": network(large=large), "rate": rate}, None, None
    if model == "ptalker":
        sizes |= {"emotion_dim": HIDDEN, "audio_style_hidden": 6, "auxiliary_classes": 6, "dead_layers": True}
        emotion = {**speech, "rate": {"kind": "aligned", "fps": 60.0}}
    if model == "codetalker":
        stage = {"motion_dim": 3 * vertices, "width": 16, "layers": 1, "heads": 8, "hidden": 12, "groups": 2}
        sizes |= {"layers": 2, "autoencoder": stage | {"code_dim": 8, "codes": 16}, "width": 16}
    if model == "facediffuser":
        del sizes["period"]
        sizes |= {"steps": 6, "steps_per_frame": 2}
        speech["rate"], own = {"kind": "none"}, pairs
    talker = MeshNetwork(
        MeshNetworkConfig(model=model, family=sizes, speech=speech, emotion=emotion, fps=fps, rate=own)
    )
    for parameter in talker.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.001)
    state = {name: value.detach().clone() for name, value in talker.tensors().items()}
    if model != "facediffuser":
        rows = (600 // period + 1) * period
        state["PPE.pe"] = periodic_positions(0, rows, sizes["width"], period)[None]
    if model == "ptalker":
        for side in ("content", "style"):
            state[f"{side}_motion.PE.pe"] = periodic_positions(0, rows, 16, period)[None]
    return to_old(state)


def write_published(folder: Path) -> None:
    """The released files that the documentation names."""
    files = {
        "vocaset.pth": ("faceformer", FLAME), "biwi.pth": ("faceformer", BIWI),
        "talkingstyle_vocaset.pth": ("talkingstyle", FLAME), "mead.pth": ("talkingstyle", FLAME),
        "BIWI_model.pth": ("ptalker", BIWI), "pretrained_BIWI.pth": ("facediffuser", BIWI),
    }  # fmt: skip
    for name, (model, vertices) in files.items():
        torch.save(published(model, vertices), folder / name)
    state = published("codetalker", FLAME)
    first = {key.removeprefix("autoencoder."): value for key, value in state.items() if key.startswith("autoencoder.")}
    second = {key: value for key, value in state.items() if not key.startswith("autoencoder.")}
    for number, stage in enumerate((first, second), 1):
        torch.save({"state_dict": stage}, folder / f"vocaset_stage{number}.pth.tar")


def write_templates(folder: Path) -> None:
    """The templates that go with the files."""
    write_ply(folder / "FLAME_sample.ply", face(FLAME))
    write_ply(folder / "BIWI.ply", face(BIWI))
    people = {name: face(FLAME, person) for person, name in enumerate((*VOCASET_TRAIN, *VOCASET_VAL, *VOCASET_TEST))}
    (folder / "templates.pkl").write_bytes(pickle.dumps(people, protocol=2))
