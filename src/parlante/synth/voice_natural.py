"""Flite and Festival: a few voices made from recorded people, where their programs are installed.

Flite prints phone end times (`-psdur`), Festival saves them (`utt.save.segs`). Their reduced vowels and syllabic
consonants are folded onto PHONES.
"""

import functools
import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.audio.phones import PHONES
from parlante.core import InputError

FLITE = ("rms", "awb", "kal16", "slt")
FESTIVAL = {
    "kal": "voice_kal_diphone", "ked": "voice_ked_diphone", "slt_hts": "voice_cmu_us_slt_arctic_hts",
    "lj": "voice_suo_fi_lj_diphone", "mv": "voice_hy_fi_mv_diphone",
    "lp": "voice_lp_diphone", "pc": "voice_pc_diphone",
    "dita": "voice_czech_dita", "krb": "voice_czech_krb", "machac": "voice_czech_machac", "ph": "voice_czech_ph",
}  # fmt: skip
FOREIGN = frozenset({"lj", "mv", "lp", "pc", "dita", "krb", "machac", "ph"})
"""Finnish, Italian and Czech speakers of Festival: give them words of their letters."""
_FOLD = {
    "pau": "sil", "h#": "sil", "brth": "sil", "ssil": "sil", "#": "sil", "ax": "ah", "axr": "er", "ix": "ih",
    "ux": "uw", "dx": "d", "nx": "n", "en": "n", "em": "m", "el": "l", "hv": "hh", "eng": "ng",
}  # fmt: skip
_FOLD_FOREIGN = {
    "a": "aa", "e": "eh", "i": "iy", "o": "ao", "u": "uw", "y": "uw", "j": "y", "r": "d", "r~": "zh", "h": "hh",
    "ch": "hh", "S": "sh", "s~": "sh", "z~": "zh", "c~": "ch", "tS": "ch", "dZ": "jh", "dz~": "jh", "c": "t", "ts": "t",
    "dz": "d", "n~": "n", "n*": "ng", "nf": "m", "N": "ng", "J": "n", "L": "l", "t~": "t", "d~": "d", "ng": "ng",
    "ä": "ae", "ö": "er", "T": "t", "##": "sil", "Z": "zh", "E": "eh", "O": "ao", "ou": "ow", "au": "aw",
}  # fmt: skip
Segments = list[tuple[str, float]]


@functools.cache
def installed() -> tuple[str, ...]:
    """Names usable with `speak`, such as `flite:rms`; empty where neither program is found."""
    names: list[str] = []
    if shutil.which("flite"):
        listed = subprocess.run(["flite", "-lv"], capture_output=True, text=True, check=False).stdout.split()
        names += [f"flite:{name}" for name in FLITE if name in listed]
    if shutil.which("festival"):
        listed = subprocess.run(
            ["festival", "-b", "(print (voice.list))"], capture_output=True, text=True, check=False
        ).stdout.split()
        found = {word.strip("()") for word in listed}
        names += [f"festival:{name}" for name, voice in FESTIVAL.items() if voice.removeprefix("voice_") in found]
    return tuple(names)


def speak_flite(name: str, text: str, stretch: float, pitch: float) -> tuple[NDArray[np.float32], int, Segments]:
    """Audio (N,), its rate, and (phone, end in seconds) in order. `pitch` in Hz, 0 keeps the voice's own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = ["flite", "-voice", name, "-psdur", "--setf", f"duration_stretch={stretch:.3f}"]
        if pitch:
            command += ["--setf", f"int_f0_target_mean={pitch:.1f}"]
        done = subprocess.run([*command, "-t", text, "-o", str(path)], capture_output=True, text=True, check=False)
        if done.returncode or not path.exists():
            raise InputError(f"flite could not speak {text!r}: {done.stderr.strip()}; try plain words")
        audio, rate = _read(path)
    pairs = [word.rsplit(":", 1) for word in done.stdout.split() if ":" in word]
    return audio, rate, [(_phone(symbol), float(end)) for symbol, end in pairs]


def speak_festival(name: str, text: str, stretch: float) -> tuple[NDArray[np.float32], int, Segments]:
    """The same, spoken by Festival."""
    quoted = text.replace("\\", " ").replace('"', " ")
    with tempfile.TemporaryDirectory() as folder:
        path, labels = Path(folder) / "speech.wav", Path(folder) / "speech.lab"
        script = (
            f"(begin ({FESTIVAL[name]}) (Parameter.set 'Duration_Stretch {stretch:.3f})"
            f'(set! u (Utterance Text "{quoted}")) (utt.synth u)'
            f'(utt.save.wave u "{path}" \'riff) (utt.save.segs u "{labels}"))'
        )
        done = subprocess.run(["festival", "-b", script], capture_output=True, text=True, check=False)
        if done.returncode or not path.exists() or not labels.exists():
            raise InputError(f"festival could not speak {text!r}: {done.stderr.strip()}; try plain words")
        audio, rate = _read(path)
        rows = [line.split() for line in labels.read_text().splitlines()]
    return audio, rate, [(_phone(row[2], name in FOREIGN), float(row[0])) for row in rows if len(row) == 3]


def _phone(symbol: str, foreign: bool = False) -> str:
    if foreign:
        symbol = symbol.rstrip("012:")
        return _FOLD_FOREIGN.get(symbol) or (symbol if symbol in PHONES else _FOLD.get(symbol, "sil"))
    symbol = symbol.lower().rstrip("012")
    return symbol if symbol in PHONES else _FOLD.get(symbol, "sil")


def _read(path: Path) -> tuple[NDArray[np.float32], int]:
    with wave.open(str(path)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return (data / 32768.0).astype(np.float32), file.getframerate()
