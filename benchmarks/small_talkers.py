"""Lip error of the small talkers on SynthTalk, and what a style extracted from clips of a stranger is worth.

    python benchmarks/small_talkers.py --corpus CORPUS [--model NAME|FOLDER ...] [--cache FOLDER]

Judged without the liveliness layer, as in docs/models/quality.md: distance of the worst lip vertex, mean over frames,
in mm. Mean motion is the subject's own mean face. test_unseen's subjects are strangers: three of their clips serve to
extract the style (and to choose the nearest known one), the others are judged. The last line is JSON.
"""

import argparse
import json
import time
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parlante.head import load_head
from parlante.models.head_network import HeadNetwork
from parlante.models.style_fitting import fit_style
from parlante.training.features.cache import StoredClip
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import MotionStore, prepare
from parlante.training.features.speech_features import GRID
from parlante.training.schemes.motion_scheme import lip_error


class Judge:
    """A talker on prepared clips."""

    def __init__(self, talker: HeadNetwork, store: MotionStore) -> None:
        self.talker, self.store = talker, store
        topology = load_head().topology
        self.lips = torch.from_numpy(store.basis.part(np.asarray(topology.regions["lips"])))
        inner = [topology.landmarks[name] for name in ("upper_lip_inner", "lower_lip_inner")]
        upper, lower = torch.from_numpy(store.basis.part(np.array(inner))).unflatten(1, (2, 3)).unbind(1)
        self.aperture = (upper - lower)[:, 1]
        self.offsets = tuple(round(at * GRID * talker.metadata.fps) for at in talker.metadata.frame_offsets)

    def read(self, clip: StoredClip) -> tuple[Tensor, Tensor]:
        """Features (T, A) of the clean audio, and true coordinates (T, R)."""
        at = np.arange(clip.start, clip.start + clip.frames)
        heard = self.store.features_at(at, np.zeros_like(at), self.offsets)
        return torch.from_numpy(heard), torch.from_numpy(self.store.motion[at])

    @torch.no_grad()
    def speak(self, clips: list[tuple[Tensor, Tensor]], codes: Tensor) -> list[Tensor]:
        """Coordinates of each clip with codes (B, D)."""
        made = []
        noise = {"generator": torch.Generator().manual_seed(0)} if self.talker.solver_steps else {}
        for at in range(0, len(clips), 32):
            part = clips[at : at + 32]
            lengths = torch.tensor([len(heard) for heard, _ in part])
            features = torch.nn.utils.rnn.pad_sequence([heard for heard, _ in part], batch_first=True)
            told = torch.cat(
                [self.talker.add_voice_style(codes[at + i, None], heard[None]) for i, (heard, _) in enumerate(part)]
            )
            motion = self.talker.network.generate(features, told, lengths=lengths, **noise)
            made += [m[:n] for m, n in zip(motion, lengths.tolist(), strict=True)]
        return made

    def errors(self, clips: list[tuple[Tensor, Tensor]], codes: Tensor) -> Tensor:
        """(frames of all clips,) mm."""
        made = self.speak(clips, codes.expand(len(clips), -1))
        return torch.cat([lip_error(m, truth, self.lips) for m, (_, truth) in zip(made, clips, strict=True)])


def by_subject(store: MotionStore, split: str) -> dict[str, list[StoredClip]]:
    found: dict[str, list[StoredClip]] = defaultdict(list)
    for clip in store.clips:
        if clip.split == split:
            found[clip.subject].append(clip)
    return dict(found)


def seen(judge: Judge) -> dict[str, float]:
    """test_seen."""
    talker, training = judge.talker, by_subject(judge.store, "train")
    clips, codes, still = [], [], []
    known = talker.embeddings()
    for subject, own in by_subject(judge.store, "test_seen").items():
        mean = torch.cat([judge.read(clip)[1] for clip in training[subject][:5]]).mean(0)
        for clip in own:
            clips.append(judge.read(clip))
            codes.append(known[talker.styles.index(subject)])
            still.append(lip_error(mean, clips[-1][1], judge.lips))
    error, rest = judge.errors(clips, torch.stack(codes)).mean(), torch.cat(still).mean()
    return {"clips": len(clips), "lip_mm": float(error), "mean_motion_mm": float(rest), "share": float(error / rest)}


def unseen(judge: Judge, references: int, judged: int) -> dict[str, Any]:
    """test_unseen: the average style, the nearest known one, and the extracted one."""
    talker = judge.talker
    known, average = talker.embeddings(), talker.mean_embedding()
    lists: dict[str, list[Tensor]] = defaultdict(list)
    gains: list[tuple[float, float]] = []
    seconds, codes = [], []
    people = by_subject(judge.store, "test_unseen")
    for own in people.values():
        given = [judge.read(clip) for clip in own[:references]]
        rest = [judge.read(clip) for clip in own[references : references + judged]]
        started = time.process_time()
        fit = fit_style(talker.network, known, given, judge.lips, add_voice_style=talker.add_voice_style)
        seconds.append(time.process_time() - started)
        codes.append(fit.code)
        mean = torch.cat([motion for _, motion in given]).mean(0)
        for name, code in (("average", average), ("nearest", known[fit.nearest]), ("extracted", fit.code)):
            lists[name].append(judge.errors(rest, code))
        lists["mean_motion"].append(torch.cat([lip_error(mean, truth, judge.lips) for _, truth in rest]))
    # the same sentences in every extracted style: does the mouth open as much more or less as the stranger's does?
    same = [judge.read(own[-1]) for own in people.values()][:4]
    for code, own in zip(codes, people.values(), strict=True):
        truth = torch.cat([judge.read(clip)[1] for clip in own]) @ judge.aperture
        made = torch.cat(judge.speak(same, code.expand(len(same), -1))) @ judge.aperture
        gains.append((float(truth.std().log()), float(made.std().log())))
    t, p = np.array(gains).T
    a, b = np.triu_indices(len(t), 1)
    dt, dp = t[a] - t[b], p[a] - p[b]
    figures = {f"{name}_mm": float(torch.cat(values).mean()) for name, values in lists.items()}
    return figures | {
        "subjects": len(people),
        "aperture_gain_correlation": float((dt * dp).sum() / np.sqrt((dt**2).sum() * (dp**2).sum())),
        "aperture_gain_slope": float((dt * dp).sum() / (dt**2).sum()),
        "cpu_seconds_per_style": float(np.mean(seconds)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--cache", default="runs/cache")
    parser.add_argument("--model", action="append", help="shipped name or folder (default: all shipped)")
    parser.add_argument("--references", type=int, default=3)
    parser.add_argument("--judged", type=int, default=8, help="clips per stranger")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = prepare(MotionDataConfig(corpus=options.corpus, cache=options.cache))
    result = {}
    for name in options.model or ("faceformer", "talkingstyle", "ptalker", "facediffuser"):
        judge = Judge(HeadNetwork.from_pretrained(name), store)
        result[name] = {"test_seen": seen(judge), "test_unseen": unseen(judge, options.references, options.judged)}
        print(name, json.dumps(result[name], indent=1), flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
