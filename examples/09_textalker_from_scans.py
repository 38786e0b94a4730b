"""From scans to a face that speaks: every step of TexTalker's training, at toy size.

The scans are SynthTalk's faces, three people with five seconds each; the face says a sentence that it was trained on.
It takes four minutes on one core. With scans of your own and the recipes of recipes/textalker the steps are the same.
"""

import sys
from pathlib import Path

import transformers

from parlante.cli import main as parlante

HERE = Path(__file__).parent / "scans"
sys.path.insert(0, str(HERE))
from write_scans import main as write_scans  # noqa: E402


def run(*words: str) -> None:
    """One `parlante` command; stops where it fails."""
    if code := parlante(list(words)):
        sys.exit(code)


def train(recipe: str, folder: str, more: list[str]) -> None:
    """Train a recipe of examples/scans, with changes."""
    run("train", str(HERE / f"{recipe}.yaml"), "--run", folder, *(word for c in more for word in ("--set", c)))


def main(out: str = "out/from-scans", frames: str = "150", *changes: str) -> None:
    """Scans, corpus, two autoencoders, latents and pivots, joint diffusion, and then a video of somebody's face."""
    corpus, latents = f"{out}/scanned", f"{out}/latents"
    run("synth", "--subjects", "3", "--sentences", "3", "--out", f"{out}/synthtalk", "--seed", "1")
    write_scans(f"{out}/synthtalk", f"{out}/scans", frames)
    run("prepare", "textalk4d", f"{out}/scans", corpus, "--held-out", "1")
    for kind in ("motion", "wrinkle"):
        train(kind, f"{out}/autoencoders/{kind}", [f"data.corpus={corpus}", *changes])
    run("encode", corpus, "--model", f"{out}/autoencoders", "-o", latents)

    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    network = transformers.HubertConfig(**sizes, conv_dim=[32] * 7, num_conv_pos_embeddings=16)
    transformers.HubertModel(network).save_pretrained(f"{out}/hubert")
    parts = [f"data.{kind}={out}/autoencoders/{kind}" for kind in ("motion", "wrinkle")]
    data = [f"data.corpus={corpus}", f"data.encoded={latents}", f"data.speech={out}/hubert", *parts]
    train("diffusion", f"{out}/run", [*data, *changes])

    person = ["--identity", f"{out}/scans/ID001", "--style", "ID001", "--wrinkle-style", "ID002"]
    speech, outputs = (
        f"{out}/scans/ID001/Records/enhanced_vocal.wav",
        ["-o", f"{out}/line.mp4", "-o", f"{out}/line.npz"],
    )
    run("animate", speech, "--model", f"{out}/run", *person, *outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
