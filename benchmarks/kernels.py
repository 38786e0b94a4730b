"""What the hand-written kernels of `models/cpu/` gain: shipped talkers on one recording, with and without them.

    python benchmarks/kernels.py [--seconds 20] [--rounds 3] [--model NAME ...]

Times are processor seconds of one thread from the recording to its last frame, the least of some rounds that take
turns. The last line is JSON.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parlante.audio.recording import load_audio
from parlante.models.cpu import accelerate
from parlante.models.registry import load_model, shipped

DEMO = Path(__file__).parents[1] / "assets" / "demo.wav"


def seconds(work: Callable[[], Any]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turn(work: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Least processor seconds (with kernels, without)."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(rounds + 1):
        for enabled in (True, False):
            accelerate.ENABLED = enabled
            spent = seconds(work)
            if turn:  # the first turn compiles
                found[enabled].append(spent)
    accelerate.ENABLED = True
    return min(found[True]), min(found[False])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the recording")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", nargs="*", choices=shipped(), default=list(shipped()))
    args = parser.parse_args()
    torch.set_num_threads(1)
    audio = load_audio(DEMO).audio_16k
    audio = np.resize(audio, round(16000 * args.seconds)).astype(np.float32)
    rows = {}
    for name in args.model:
        model = load_model(name)
        face = model.face()
        style = model.style(None, face)

        def speak(model: Any = model, face: Any = face, style: Any = style) -> None:
            session = model.session(face, style)
            for _ in (*session.push(audio), *session.finish()):
                pass

        ours, plain = in_turn(speak, args.rounds)
        rows[name] = {"with_s": round(ours, 3), "without_s": round(plain, 3), "ratio": round(plain / ours, 2)}
        print(f"{name:14} with {ours:.2f} s, without {plain:.2f} s, ratio {plain / ours:.2f}", flush=True)
    print(json.dumps({"benchmark": "kernels", "seconds": args.seconds, "rows": rows}))


if __name__ == "__main__":
    main()
