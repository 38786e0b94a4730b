"""Voices that say a text and know exactly when each phone happens.

    >>> utterance = speak("Bob may pop the map.", "espeak/en-gb/own7/180/45/60")

A voice is named by a short text: `espeak/LANGUAGE/VARIANT/RATE/PITCH/RANGE` (words a minute; 0..99; 0..99), or
`flite/NAME/STRETCH/HZ`, `festival/NAME/STRETCH` where those programs are installed. eSpeak NG comes with the optional
library `espeakng_loader`.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.audio.phones import PHONES, Phone, Utterance
from parlante.core import InputError, MissingExtra, read_npz
from parlante.synth import voice_espeak, voice_natural
from parlante.synth.voice_ipa import to_phones

SAMPLE_RATE = 16000
ENGLISH = (
    "en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc", "en-029",
)  # fmt: skip
OTHER_LANGUAGES = ("de", "fr-fr", "es", "es-419", "it", "pt-br", "pt", "nl", "sv", "pl", "cs", "tr", "ro", "id", "fi")
VARIANTS = (
    *("Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo", "Jacky", "Lee"),
    *("Marco", "Mario", "Michael", "Mike", "Mr serious", "Nguyen", "Reed", "Storm", "adam", "anika", "announcer"),
    *("antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "edward2", "f1", "f2"),
    *("f3", "f4", "f5", "grandma", "grandpa", "gustave", "ian", "iven", "iven2", "iven3", "iven4", "john", "klatt"),
    *("klatt2", "klatt3", "klatt4", "klatt6", "linda", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "marcelo"),
    *("max", "michel", "miguel", "mike2", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro"),
    *("shelby", "steph", "steph2", "steph3", "travis", "victor", "zac", "RicishayMax", "RicishayMax2"),
    *(f"own{number}" for number in range(voice_espeak.OWN_VARIANTS)),
)
"""Speakers of eSpeak NG: its own human-like variants and ours."""
VOICES: tuple[str, ...] = tuple(f"espeak/en-us/{variant}/175/50/50" for variant in VARIANTS)
"""One voice per speaker, at its default pitch; any other language, rate, pitch and range may be put in the name."""
SILENCE_S = 0.1
"""A pause event shorter than this is a closure or a glottal break, and belongs to the phone before it."""


def random_voice(rng: np.random.Generator, natural: float = 0.0, foreign: float = 0.0) -> str:
    """The name of a random voice.

    `natural`: chance of an English Flite or Festival voice where installed (never `slt`, kept for validation);
    `foreign`: chance that an eSpeak voice speaks another language than English.
    """
    if rng.random() < natural:
        names = [
            n for n in voice_natural.installed() if "slt" not in n and n.split(":")[1] not in voice_natural.FOREIGN
        ]
        if names:
            engine, name = names[rng.integers(len(names))].split(":")
            stretch = f"{rng.uniform(0.75, 1.35):.2f}"
            if engine == "festival":
                return f"festival/{name}/{stretch}"
            return f"flite/{name}/{stretch}/{rng.uniform(75, 170):.0f}"
    languages = OTHER_LANGUAGES if rng.random() < foreign else ENGLISH
    language = languages[rng.integers(len(languages))]
    variant = VARIANTS[rng.integers(len(VARIANTS))]
    return "/".join(
        (
            "espeak", language, variant, f"{rng.uniform(110, 240):.0f}", f"{rng.uniform(20, 80):.0f}",
            f"{rng.uniform(20, 90):.0f}",
        )
    )  # fmt: skip


def speak(text: str, voice: str = "espeak/en-us/m3/175/50/50") -> Utterance:
    """`text` spoken by `voice`; the same bytes every time.

    Raises InputError for an unknown voice or a text with nothing to say, MissingExtra without espeakng_loader.
    """
    return speak_many([(text, voice)])[0]


def speak_many(jobs: Sequence[tuple[str, str]]) -> list[Utterance]:
    """Speak many (text, voice) pairs; eSpeak's share runs in one fresh process, so the bytes depend on `jobs` alone."""
    parsed = [(text, voice, voice.split("/")) for text, voice in jobs]
    for text, voice, fields in parsed:
        sizes = {"espeak": 6, "flite": 4, "festival": 3}
        if sizes.get(fields[0]) != len(fields):
            raise InputError(f"no voice {voice!r}; name one as espeak/en-us/m3/175/50/50 or flite/rms/1.0/0")
        if not text.strip():
            raise InputError("nothing to say: the text is empty; give at least one word")
        if fields[0] != "espeak" and f"{fields[0]}:{fields[1]}" not in voice_natural.installed():
            raise InputError(f"voice {voice!r} needs {fields[0]} with {fields[1]!r} installed; use an espeak/ voice")
    spoken = iter(_run_espeak([(text, fields) for text, _, fields in parsed if fields[0] == "espeak"]))
    result = []
    for text, voice, fields in parsed:
        if fields[0] == "espeak":
            audio, phones = next(spoken)
        else:
            audio, phones = _natural(text, fields)
        if len(audio) < SAMPLE_RATE // 50 or not phones:
            raise InputError(f"{voice} made no sound of {text!r}; give words of its language")
        result.append(Utterance(audio, SAMPLE_RATE, phones, voice, text))
    return result


def _natural(text: str, fields: list[str]) -> tuple[NDArray[np.float32], tuple[Phone, ...]]:
    if fields[0] == "flite":
        audio, rate, segments = voice_natural.speak_flite(fields[1], text, float(fields[2]), float(fields[3]))
    else:
        audio, rate, segments = voice_natural.speak_festival(fields[1], text, float(fields[2]))
    ends = [end for _, end in segments]
    symbols: list[tuple[str, ...]] = [(symbol,) for symbol, _ in segments]
    return to_rate(audio, rate), cover([0.0, *ends[:-1]], symbols, len(audio) / rate)


def _run_espeak(jobs: list[tuple[str, list[str]]]) -> list[tuple[NDArray[np.float32], tuple[Phone, ...]]]:
    if not jobs:
        return []
    if importlib.util.find_spec("espeakng_loader") is None:
        raise MissingExtra("espeakng_loader", "train")
    rows = [[text, f[1], f[2], int(f[3]), int(f[4]), int(f[5])] for text, f in jobs]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.npz"
        done = subprocess.run(
            [sys.executable, "-m", "parlante.synth.voice_espeak", str(path)],
            input=json.dumps(rows).encode(), capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise InputError(f"eSpeak NG failed: {lines[-1]}; check the voice's language")
        arrays = read_npz(path)
    rate = int(arrays["rate"])
    result = []
    for index in range(len(rows)):
        audio: NDArray[np.int16] = arrays[f"audio{index}"]
        starts, symbols = [], []
        events = list(zip(arrays[f"start{index}"].tolist(), arrays[f"ipa{index}"].tolist()))
        for place, (start, ipa) in enumerate(events):
            end = events[place + 1][0] if place + 1 < len(events) else len(audio)
            found = () if "(" in ipa else to_phones(ipa)
            if not found and place + 1 < len(events) and (ipa or end - start < SILENCE_S * rate):
                continue
            starts.append(int(start))
            symbols.append(found or ("sil",))
        starts = voice_espeak.move_onsets(audio, starts, symbols, rate)
        phones = cover([start / rate for start in starts], symbols, len(audio) / rate)
        result.append((to_rate((audio / 32768.0).astype(np.float32), rate), phones))
    return result


def cover(starts: Sequence[float], symbols: Sequence[tuple[str, ...]], duration: float) -> tuple[Phone, ...]:
    """Contiguous phones over 0..duration (seconds): silence before the first, equal silences joined, splits shared."""
    phones: list[Phone] = []

    def add(symbol: str, start: float, end: float) -> None:
        if end <= start:
            return
        if symbol not in PHONES:
            raise ValueError(f"{symbol!r} is not one of PHONES")
        if phones and phones[-1].symbol == symbol == "sil":
            phones[-1] = Phone("sil", phones[-1].start, end)
        else:
            phones.append(Phone(symbol, start, end))

    if not starts:
        return ()
    add("sil", 0.0, starts[0])
    for index, start in enumerate(starts):
        start = max(start, phones[-1].end if phones else 0.0)
        end = starts[index + 1] if index + 1 < len(starts) else duration
        parts = symbols[index]
        edges = np.linspace(start, max(end, start), len(parts) + 1)
        for part, first, last in zip(parts, edges[:-1].tolist(), edges[1:].tolist()):
            add(part, first, last)
    return tuple(phones)


def to_rate(audio: NDArray[np.float32], rate: int, target: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """`audio` (N,) resampled from `rate` to `target` Hz."""
    if rate == target:
        return audio.astype(np.float32)
    from scipy.signal import resample_poly

    divisor = gcd(rate, target)
    return resample_poly(audio, target // divisor, rate // divisor).astype(np.float32)
