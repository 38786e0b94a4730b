"""Scans made on the spot, in TexTalk4D's layout: talking faces of SynthTalk as a mesh and a picture for every frame.

ROOT/ID001/Records/enhanced_vocal.wav    speech
ROOT/ID001/Models/000001/face_aligned.obj    the neutral face; then a mesh for each frame, 30 a second
ROOT/ID001/Textures_512/000001/face.png      its skin

python examples/scans/write_scans.py SYNTHTALK ROOT [FRAMES]
"""

import sys
import wave
from pathlib import Path

import numpy as np
from PIL import Image

from parlante.data.open import open_corpus

UNITS = 10.0
"""Of the published meshes, in one metre."""
SIDE = 128
"""Of a picture, in texels."""


def main(corpus: str, root: str, frames: str = "150") -> None:
    """Write the sentences of each speaker one after the other, up to so many frames."""
    clips, length = open_corpus(corpus, texture_size=SIDE), int(frames)
    people: dict[str, list[int]] = {}
    for number, info in enumerate(clips.clips):
        people.setdefault(info.subject, []).append(number)
    topology = clips.topology
    corners = "\n".join(
        "f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(a, b, strict=True))
        for a, b in zip(topology.triangles, topology.uv_triangles, strict=True)
    )
    places = "\n".join(f"vt {u:.6f} {v:.6f}" for u, v in topology.uv)
    for person, (subject, numbers) in enumerate(sorted(people.items()), 1):
        folder, face, frame, sound = Path(root) / f"ID{person:03d}", clips.identity(subject), 1, []
        skin = np.asarray(Image.fromarray(face.albedo).resize((SIDE, SIDE), Image.Resampling.BOX))

        def save(vertices: np.ndarray, picture: np.ndarray, number: int, folder: Path = folder) -> None:
            mesh, drawn = folder / "Models" / f"{number:06d}", folder / "Textures_512" / f"{number:06d}"
            mesh.mkdir(parents=True)
            drawn.mkdir(parents=True)
            points = "\n".join(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in UNITS * vertices)
            (mesh / "face_aligned.obj").write_text(f"{points}\n{places}\n{corners}\n")
            Image.fromarray(picture).save(drawn / "face.png")

        save(face.neutral, skin, 1)
        sound.append(np.zeros(round(16000 / 30), np.float32))
        for clip in (clips[number] for number in numbers):
            for vertices, picture in zip(clip.vertices, clip.textures, strict=True):
                if frame < length:
                    frame += 1
                    save(np.asarray(vertices), np.asarray(picture), frame)
            sound.append(clip.audio[: round(len(clip.vertices) * 16000 / 30)])
        speech = folder / "Records" / "enhanced_vocal.wav"
        speech.parent.mkdir()
        with wave.open(str(speech), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes((np.concatenate(sound).clip(-1, 1) * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
