"""How much a face jumps where windows meet: acceleration at the joins over acceleration elsewhere.

    python benchmarks/joins.py --corpus CORPUS [--talker FOLDER] [--seconds 30] [--takes 4]

Speech of one test_seen speaker after another, end to end, so that each has many joins. Frames whose second difference
touches a join (or the cross-faded frames there) are compared with all others: root mean square over lip and over face
vertices of the motion, over all texels of the wrinkle latents. 1 means that a join is like any other frame. Rows: the
model's own overlap, the published way (no overlap, one noise for all windows), and the true motion, cut at the same
places. The last line is JSON.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from synthtalk_clips import TexTalkerData

from parlante.core.timing import num_frames
from parlante.geometry.uv import offsets_from_maps
from parlante.models.textalker.model import ASSET, TexTalker


def join_ratio(frames: np.ndarray, joins: list[int], overlap: int) -> float:
    """RMS acceleration at the joins over that elsewhere; frames (T, ...), joins: first frames of later windows."""
    acceleration = np.sqrt(np.square(np.diff(frames, 2, axis=0)).reshape(len(frames) - 2, -1).mean(1))
    at = np.zeros(len(acceleration), bool)
    for join in joins:  # acceleration k is of frames k, k + 1, k + 2
        at[max(0, join - 2) : join + overlap] = True
    return float(np.sqrt(np.square(acceleration[at]).mean() / np.square(acceleration[~at]).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder written by `parlante synth`")
    parser.add_argument("--talker", type=Path, default=ASSET, help="checkpoint folder (default: the shipped one)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of speech in a take")
    parser.add_argument("--takes", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    talker = TexTalker.from_pretrained(options.talker)
    data = TexTalkerData(options.corpus, talker)
    rows = [k for k, info in enumerate(data.corpus.clips) if info.split == "test_seen"]
    regions = data.faces.topology.regions
    own, length = talker.config, talker.config.denoiser.frames
    ways = {
        f"{own.overlap} frames shared, {own.steps} steps": own,
        "no overlap, one noise": dataclasses.replace(own, overlap=0, same_noise=True),
    }
    found: dict[str, list[list[float]]] = {name: [] for name in (*ways, "true motion")}
    for number in range(options.takes):
        first = data.corpus[rows[number * len(rows) // options.takes]]
        audio, curves = [], []
        for k in rows[number * len(rows) // options.takes :] + rows:
            take = data.corpus[k]
            samples = len(take.weights) * 16000 // 30
            audio.append(np.pad(take.audio, (0, max(0, samples - len(take.audio))))[:samples])
            curves.append(take.weights)
            if sum(map(len, audio)) > 16000 * options.seconds:
                break
        sound = np.concatenate(audio)
        encoded = data.encode_audio(sound)
        for name, config in ways.items():
            talker.config = config
            windows = list(
                talker.latents(
                    encoded, talker.style(own.styles[number]), num_frames(len(sound)),
                    generator=torch.Generator().manual_seed(0),
                )
            )  # fmt: skip
            joins = [w.start for w in windows[1:]]
            with torch.inference_mode():
                maps = talker.decode_motion(torch.cat([w.motion[0] for w in windows]))
                moved = offsets_from_maps(maps, data.faces.table, data.faces.stats).numpy()
            skin = torch.cat([w.wrinkle[0] for w in windows]).numpy()
            parts = [moved[:, regions["lips"]], moved[:, regions["face"]], skin]
            found[name].append([join_ratio(part, joins, config.overlap) for part in parts])
        truth = data.faces.offsets(first.subject, np.concatenate(curves))
        joins = list(range(length - own.overlap, len(truth) - 2, length - own.overlap))
        parts = [truth[:, regions["lips"]], truth[:, regions["face"]]]
        found["true motion"].append([join_ratio(part, joins, own.overlap) for part in parts] + [float("nan")])
    print(f"{options.takes} takes of {options.seconds:g} s\n")
    print("| way | lips | face | wrinkle latents |\n| --- | --- | --- | --- |")
    for name, ratios in found.items():
        print(f"| {name} | " + " | ".join("" if np.isnan(r) else f"{r:.2f}" for r in np.mean(ratios, 0)) + " |")
    print(
        json.dumps({name: np.mean(ratios, 0).round(3).tolist()[: 2 + (name in ways)] for name, ratios in found.items()})
    )


if __name__ == "__main__":
    main()
