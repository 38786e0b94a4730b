#!/usr/bin/env python3
"""How fast speech becomes motion and wrinkle maps, how long the model takes to load, and how memory grows with length.

    python benchmarks/animate.py                    30 s: load, maps, every output; prints a Markdown table
    python benchmarks/animate.py --minutes 60       one long recording to .csv and .glb; memory at each tenth of the way

The speech is `assets/demo.wav`, repeated.
"""

import argparse
import os
import platform
import resource
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

DEMO = Path(__file__).parents[1] / "assets" / "demo.wav"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the short test (default 30)")
    parser.add_argument("--minutes", type=float, help="measure memory over a recording of this length instead")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory() as folder:
        if options.minutes:
            long_recording(Path(folder), options.minutes * 60)
        else:
            short_recording(Path(folder), options.seconds)


def short_recording(folder: Path, seconds: float) -> None:
    """Load, maps alone, then each output alone."""
    speech = repeat_demo(folder / "speech.wav", seconds)
    rows: list[tuple[str, float, float]] = []

    def timed(what: str, action: "object") -> "object":
        assert callable(action)
        wall, cpu = time.perf_counter(), time.process_time()
        result = action()
        rows.append((what, time.perf_counter() - wall, time.process_time() - cpu))
        return result

    def import_libraries() -> None:
        import parlante.models.textalker.head_generator
        import parlante.render  # noqa: F401

    timed("import libraries", import_libraries)
    from parlante.animation import animate_to
    from parlante.animation.talker import said
    from parlante.audio.recording import load_audio
    from parlante.models.registry import load_model

    model = timed("load the models", load_model)
    person = timed("load and paint the head", model.face)
    heard = load_audio(speech)

    def maps() -> None:
        for _ in said(model.session(person, model.style(None, person)), heard.audio_16k):
            pass

    timed("motion and wrinkle maps, first run", maps)
    timed("motion and wrinkle maps, again", maps)
    for name in ("a.csv", "a.glb", "a.npz", "a.mp4"):
        timed(f"animate to {Path(name).suffix}", lambda name=name: animate_to(speech, [folder / name]))
    print(f"| {seconds:g} s of speech | wall s | CPU s | times real time |\n| --- | --- | --- | --- |")
    for what, wall, cpu in rows:
        factor = f"{seconds / wall:.1f}" if "maps" in what or "animate" in what else ""
        print(f"| {what} | {wall:.2f} | {cpu:.2f} | {factor} |")
    print(f"\npeak memory {peak_mb():.0f} MB")


def long_recording(folder: Path, seconds: float) -> None:
    """Resident memory at each tenth of the way."""
    from parlante.animation import animate_to

    speech = repeat_demo(folder / "speech.wav", seconds)
    began = time.perf_counter()
    shown = 0

    def progress(done: int, total: int) -> None:
        nonlocal shown
        if done * 10 // total > shown:
            shown = done * 10 // total
            print(f"| {10 * shown} % | {time.perf_counter() - began:.0f} | {resident_mb():.0f} |", flush=True)

    print("| done | wall s | resident MB |\n| --- | --- | --- |")
    animate_to(speech, [folder / "a.csv", folder / "a.glb"], progress=progress)
    print(f"\n{seconds / 60:g} minutes in {(time.perf_counter() - began) / 60:.1f} minutes, peak {peak_mb():.0f} MB")


def repeat_demo(path: Path, seconds: float) -> Path:
    """The demo sentence over and over, with its pauses, as a 16-bit wav of `seconds`."""
    with wave.open(str(DEMO), "rb") as file:
        rate = file.getframerate()
        assert file.getnchannels() == 1 and file.getsampwidth() == 2
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    left = round(seconds * rate)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        while left > 0:
            file.writeframes(sound[:left].tobytes())
            left -= len(sound)
    return path


def resident_mb() -> float:
    """Memory held now (Linux); elsewhere the peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_mb()
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb() -> float:
    """Most memory held so far."""
    scale = 1e6 if platform.system() == "Darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


if __name__ == "__main__":
    main()
