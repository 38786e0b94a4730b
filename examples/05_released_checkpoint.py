"""Convert a released checkpoint and animate with it.

`parlante convert` reads a `.pth` file as data only and writes a checkpoint folder, which moves its own mesh. We may not
pass the released files on, so a tiny FaceFormer with random weights is made here, in the same layout. For `vocaset.pth`
or `biwi.pth` leave `--rate`, `--fps` and `--set` out: the sizes of the file tell them.
"""

import sys
from pathlib import Path

import torch

from parlante.cli import main as parlante
from parlante.models.components.causal_decoder import periodic_positions
from parlante.models.mesh_network import MeshNetwork, MeshNetworkConfig

CUBE = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
FACES = [(1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4)]
WAV2VEC = {
    "model_type": "wav2vec2", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 12, "conv_dim": [4] * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def write_a_released_file(folder: Path) -> None:
    """`tiny.pth`, and `template.obj`: a cube in place of a face."""
    sizes = {"motion_dim": 24, "audio_dim": 8, "width": 8, "period": 30, "subjects": 2}
    rate = {"kind": "aligned", "fps": 30.0, "steps_per_frame": 1}
    speech = {"encoder": "network", "network": WAV2VEC, "rate": rate}
    network = MeshNetwork(MeshNetworkConfig(model="faceformer", family=sizes, speech=speech, fps=30.0))
    torch.nn.init.normal_(network.family.vertice_map_r.weight, std=0.1)  # else it would not move
    state = {**network.tensors(), "PPE.pe": periodic_positions(0, 630, 8, 30)[None]}
    torch.save(state, folder / "tiny.pth")
    lines = [f"v {x} {y} {z}" for x, y, z in CUBE] + [f"f {a} {b} {c} {d}" for a, b, c, d in FACES]
    (folder / "template.obj").write_text("\n".join(lines) + "\n")


def run(*words: str) -> None:
    """One `parlante` command; stops where it fails."""
    if code := parlante(list(words)):
        sys.exit(code)


def main(speech: str = "assets/demo.wav", out: str = "out") -> None:
    """Write the file, convert it, and let it speak."""
    folder = Path(out)
    folder.mkdir(exist_ok=True)
    write_a_released_file(folder)
    files = [str(folder / "tiny.pth"), "--topology", str(folder / "template.obj"), "--subjects", "ann,bob"]
    own = ["--rate", "aligned", "--fps", "30", "--set", "speech.heads=2"]
    run("convert", "faceformer", *files, *own, "-o", f"{out}/tiny")
    run("animate", speech, "--model", f"{out}/tiny", "--style", "ann:0.5,bob:0.5", "-o", f"{out}/cube.pc2")


if __name__ == "__main__":
    main(*sys.argv[1:])
