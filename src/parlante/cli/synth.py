"""`parlante synth`: write a SynthTalk corpus."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parlante.data.datasets.synthtalk import SynthTalk


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write a corpus of synthetic speakers: speech with known phones, weights, head pose and profile. "
        "The same seed gives the same bytes; an interrupted run goes on where it stopped."
    )
    parser.epilog = (
        "example:\n  parlante synth --subjects 60 --sentences 24 --out corpus --seed 1 --jobs 2 --preview first.mp4\n\n"
        "Needs the training extra (speech synthesis): pip install 'parlante[train]'"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder, or one to go on with")
    parser.add_argument("--subjects", type=int, default=60, metavar="N", help="speakers (default 60)")
    parser.add_argument("--sentences", type=int, default=24, metavar="M", help="sentences each (default 24)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes (default 1)")
    parser.add_argument("--preview", type=Path, metavar="FILE.mp4", help="also film the first clip")


def run(options: argparse.Namespace) -> int:
    from parlante.core import InputError

    for name, least in (("subjects", 1), ("sentences", 1), ("seed", 0), ("jobs", 1)):
        value = getattr(options, name)
        if value < least:
            raise InputError(f"--{name} {value} is too small; give {least} or more")
    if options.preview is not None and options.preview.suffix.lower() != ".mp4":
        raise InputError(f"--preview {options.preview}: give a file that ends in .mp4")

    from parlante.synth.corpus import write_corpus

    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        seconds = time.monotonic() - began
        left = seconds / done * (total - done)
        end = "\n" if done == total else "\r"
        print(f"{done}/{total} subjects, {seconds:.0f} s, {left:.0f} s to go ", end=end, file=sys.stderr, flush=True)

    index = write_corpus(
        options.out, options.subjects, options.sentences, options.seed, jobs=options.jobs, on_subject=progress
    )

    from parlante.data.datasets.synthtalk import SynthTalk
    from parlante.data.splits import SPLITS

    corpus = SynthTalk(options.out)
    splits = [clip.split for clip in corpus.clips]
    print(f"{index}: " + ", ".join(f"{splits.count(split)} {split}" for split in SPLITS))
    if options.preview is not None:
        _film(corpus, options.preview)
        print(options.preview)
    return 0


def _film(corpus: "SynthTalk", path: Path) -> None:
    """The first clip of `corpus` as a video with audio."""
    from parlante.head import load_head
    from parlante.render import Renderer, VideoWriter

    clip, head = corpus[0], load_head()
    identity = head.identity(clip.face)
    pivot = head.neck_pivot(clip.face)
    with (
        Renderer(head.topology, identity.neutral, albedo=identity.albedo, pivot=pivot) as renderer,
        VideoWriter(path, corpus.fps, renderer.size, clip.audio, corpus.sample_rate) as video,
    ):
        for frame, vertices in enumerate(clip.vertices):
            pose = None if clip.head_pose is None else clip.head_pose[frame]
            video.write(renderer.draw(vertices, head_pose=pose))
