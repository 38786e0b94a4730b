"""How well style pivots are known: from a face at rest alone, and from short clips.

python benchmarks/pivots.py [--corpus CORPUS --persons 8 --judged 2 --clips-only]

The shipped TexTalker's pivots, each guessed from the other persons: their mean, the pivot of the most similar face, and
the regression of `parlante style predict`. With a SynthTalk corpus also short clips: whether known persons are
recognised in clips of test_seen (and, beyond these, of validation), and what sentences of test_unseen's strangers look
like with pivots of their clips. Distances are RMS over persons, as a share of the mean pivot's. The last line is JSON.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from synthtalk_clips import TexTalkerData
from tqdm import tqdm

from parlante import metrics
from parlante.core import Clip, Style
from parlante.core.timing import SAMPLE_RATE
from parlante.geometry.uv import offsets_from_maps
from parlante.geometry.uv.ratio import apply_ratio
from parlante.head import load_head
from parlante.models.textalker.clip_pivots import ClipMeans, clip_pivots
from parlante.models.textalker.model import ASSET, TexTalker
from parlante.models.textalker.pivots import PivotPredictor

PARTS = ("motion", "wrinkle")


class Table:
    """Squared distances from true pivots, by method and part."""

    def __init__(self) -> None:
        self.sums: dict[str, dict[str, list[float]]] = {}

    def note(self, name: str, guess: Style, true: Style) -> None:
        for part in PARTS:
            error = float(np.square(getattr(guess, part) - getattr(true, part)).sum())
            self.sums.setdefault(name, {}).setdefault(part, []).append(error)

    def show(self) -> dict[str, dict[str, float]]:
        shares = {}
        for name, parts in self.sums.items():
            base = self.sums["mean pivot"]
            shares[name] = {
                part: round(float(np.sqrt(np.mean(parts[part]) / np.mean(base[part]))), 3) for part in PARTS
            }
            print(f"{name:28s} motion {shares[name]['motion']:.3f}  wrinkle {shares[name]['wrinkle']:.3f}")
        return shares


def mean_of(styles: Sequence[Style]) -> Style:
    return Style(*(np.mean([getattr(style, part) for style in styles], 0) for part in PARTS))


def from_faces(talker: TexTalker) -> dict[str, dict[str, float]]:
    """Every shipped pivot from the other persons'."""
    head, table = load_head(), Table()
    names = talker.config.styles
    styles = [talker.style(name) for name in names]
    neutrals = np.stack([head.identity(name).neutral for name in names])
    skins = []
    for name in names:
        albedo = head.identity(name).albedo
        assert albedo is not None
        skins.append(np.asarray(Image.fromarray(albedo).resize((64, 64), Image.Resampling.BOX)))
    for k, style in enumerate(tqdm(styles, desc="left out", disable=None)):
        others = [j for j in range(len(names)) if j != k]
        known = [styles[j] for j in others]
        table.note("mean pivot", mean_of(known), style)
        for what, chosen in (("shape and skin", [skins[j] for j in others]), ("shape", None)):
            guess = PivotPredictor(neutrals[others], chosen, known).predict(neutrals[k], skins[k], names[k])
            table.note(f"regression on {what}", guess.style, style)
        table.note("most similar face", next(s for s in known if s.name == guess.nearest[0]), style)
    print(f"{len(names)} persons, each guessed from the others; RMS distance from the true pivot, mean pivot = 1")
    return table.show()


Pair = tuple[torch.Tensor, torch.Tensor]


class People:
    """Clips of a corpus's people, heard and encoded."""

    def __init__(self, corpus: Path, talker: TexTalker) -> None:
        self.talker, self.data = talker, TexTalkerData(corpus, talker)
        self.rows: dict[str, dict[str, list[int]]] = {}
        for number, info in enumerate(self.data.corpus.clips):
            self.rows.setdefault(info.split, {}).setdefault(info.subject, []).append(number)
        self.known: Pair = (talker.motion_pivots, talker.wrinkle_pivots)

    @torch.inference_mode()
    def encoded(self, number: int, seconds: float, every: int) -> ClipMeans:
        """The first seconds of a clip."""
        clip = self.data.corpus[number]
        curves = clip.weights[: round(min(30 * seconds, len(clip.weights)))]
        sound = clip.audio[: round(min(SAMPLE_RATE * seconds, len(clip.audio)))]
        means = []
        for kind in PARTS:
            maps = self.data.faces.make(kind, clip.subject, curves[::every])
            means.append(torch.cat([getattr(self.talker, kind).encode(m) for m in maps.split(16)]).mean(0))
        return ClipMeans(self.data.encode_audio(sound)[0], len(curves), *means)

    def given(self, numbers: Sequence[int], seconds: float, every: int = 3) -> list[ClipMeans]:
        """So many seconds of the clips, one after the other."""
        clips, left = [], seconds
        for number in numbers:
            if left > 0.5:
                clips.append(self.encoded(number, left, every))
                left -= clips[-1].frames / 30
        return clips


def plain(clips: Sequence[ClipMeans]) -> Pair:
    """Mean latents."""
    weights = torch.tensor([clip.frames for clip in clips], dtype=torch.float32)
    weights /= weights.sum()
    motion, wrinkle = (torch.stack([getattr(clip, part) for clip in clips]) for part in PARTS)
    return torch.einsum("n,n...->...", weights, motion), torch.einsum("n,n...->...", weights, wrinkle)


def distances(pair: Pair, known: Pair) -> torch.Tensor:
    """(2, N) of motion and wrinkle pivots."""
    return torch.stack([(k - p).flatten(1).norm(dim=1) for p, k in zip(pair, known, strict=True)])


def identified(people: People, persons: int) -> dict[str, Any]:
    """Which of the known persons a short clip of one of them is nearest to."""
    names = people.talker.config.styles
    found: dict[tuple[int, str], list[torch.Tensor]] = {}
    seen = [name for name in names if name in people.rows["test_seen"]]
    chosen = [seen[int(k)] for k in np.linspace(0, len(seen) - 1, min(persons, len(seen)))]
    for name in tqdm(chosen, desc="known persons", disable=None):
        for seconds in (5, 10):
            part = people.given(people.rows["test_seen"][name] + people.rows["val"][name], seconds)
            for way, pair in (("mean latents", plain(part)), ("extracted", clip_pivots(people.talker, part))):
                far = distances(pair, people.known)
                found.setdefault((seconds, way), []).append((far < far[:, [names.index(name)]]).sum(1) + 1)
        people.data.faces._dynamics.clear()  # each takes tens of megabytes
    result = {}
    for (seconds, way), ranks in found.items():
        rank = torch.stack(ranks).float()
        first, mean = (rank == 1).float().mean(0), rank.mean(0)
        result[f"{seconds} s, {way}"] = [*mean.tolist(), *first.tolist()]
        print(
            f"{seconds:2d} s {way:14s} rank of the own pivot among {len(names)}: motion {mean[0]:.1f} "
            f"(first {first[0]:.0%})  wrinkle {mean[1]:.1f} (first {first[1]:.0%})"
        )
    return result


def strangers(people: People, judged: int) -> dict[str, Any]:
    """test_unseen: distance from the long pivot, and what the other sentences look like with each pivot."""
    names = people.talker.config.styles
    faces = {people.data.faces.identity(subject) for subject in people.rows["test_unseen"]}
    keep = [k for k, name in enumerate(names) if name not in faces]
    known: Pair = (people.known[0][keep], people.known[1][keep])
    mean: Pair = (known[0].mean(0), known[1].mean(0))
    lips: dict[str, list[float]] = {}
    skin: dict[str, list[float]] = {}
    off: dict[str, list[torch.Tensor]] = {}
    for subject, own in tqdm(people.rows["test_unseen"].items(), desc="strangers", disable=None):
        long = plain(people.given(own[:-judged], 1e9, 15))
        pairs: dict[str, Pair] = {"own, all other clips": long, "mean of the known": mean}
        for seconds in (5, 10, 20):
            clips = people.given(own[:-judged], seconds)
            pairs[f"mean latents of {seconds} s"] = plain(clips)
            pairs[f"extracted from {seconds} s"] = clip_pivots(people.talker, clips, known)
        spread = distances(mean, known).square().mean(1, keepdim=True)
        near = int((distances(pairs["extracted from 10 s"], known).square() / spread).sum(0).argmin())
        pairs["nearest known to 10 s"] = (known[0][near], known[1][near])
        clips = [people.data.corpus[number] for number in own[-judged:]]
        for name, pair in pairs.items():
            off.setdefault(name, []).append(distances(pair, (long[0][None], long[1][None]))[:, 0].square())
            for clip in clips:
                lip, square = said(people, clip, pair, subject)
                lips.setdefault(name, []).append(lip)
                skin.setdefault(name, []).append(square)
        people.data.faces._dynamics.clear()
    base, result = torch.stack(off["mean of the known"]).mean(0), {}
    print("| pivots | motion off | wrinkle off | lip error mm | skin dB |\n| --- | --- | --- | --- | --- |")
    for name in lips:
        share = (torch.stack(off[name]).mean(0) / base).sqrt().tolist()
        result[name] = [*share, float(np.mean(lips[name])), float(10 * np.log10(255**2 / np.mean(skin[name])))]
        print("| {} | {:.3f} | {:.3f} | {:.3f} | {:.2f} |".format(name, *result[name]))
    return result


@torch.inference_mode()
def said(people: People, clip: Clip, pair: Pair, subject: str, lip: int = 3, skin: int = 15) -> tuple[float, float]:
    """Lip error (mm) and squared error of the coloured skin with these pivots, every few frames."""
    data, talker = people.data, people.talker
    style = Style(pair[0].numpy(), pair[1].numpy())
    features = data.encode_audio(clip.audio)
    windows = list(talker.latents(features, style, len(clip.weights), generator=torch.Generator().manual_seed(0)))
    motion, wrinkle = (torch.cat([getattr(w, part)[0] for w in windows]) for part in PARTS)
    offsets = offsets_from_maps(talker.decode_motion(motion[::lip]), data.faces.table, data.faces.stats).numpy()
    truth = data.faces.offsets(subject, clip.weights[::lip])
    error = 1000 * metrics.frame_lip_error(offsets, truth, data.faces.topology.regions["lips"]).mean()
    made = talker.decode_wrinkle(wrinkle[::skin]).permute(0, 2, 3, 1).numpy()
    true = data.faces.wrinkle(subject, clip.weights[::skin]).permute(0, 2, 3, 1).numpy()
    albedo = data.albedo(subject)
    squares = [
        np.square(apply_ratio(albedo, a).astype(np.float64) - apply_ratio(albedo, b)).mean()
        for a, b in zip(made, true, strict=True)
    ]
    return float(error), float(np.mean(squares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--model", type=Path, default=ASSET)
    parser.add_argument("--persons", type=int, default=8, help="known persons to recognise")
    parser.add_argument("--judged", type=int, default=2, help="sentences per stranger that pivots are judged on")
    parser.add_argument("--clips-only", action="store_true", help="leave out the guesses from faces")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    if not options.clips_only:
        result["faces"] = from_faces(TexTalker.from_pretrained(options.model))
    if options.corpus is not None:
        people = People(options.corpus, TexTalker.from_pretrained(options.model))
        result["known"] = identified(people, options.persons)
        result["strangers"] = strangers(people, options.judged)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
