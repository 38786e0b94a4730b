"""eSpeak NG through ctypes: hundreds of speakers with the exact sample at which every phone begins.

eSpeak's speech is random from call to call inside one process, but equal in a fresh process that makes the same calls;
`parlante.synth.voice.speak` therefore runs this file as a program. It reads a JSON list of jobs on standard
input (text, language, variant, rate, pitch, range) and writes one `.npz` to the path given as its argument.

Times come from `event.sample`. For unvoiced stops eSpeak reports the release and leaves the closed-lip silence to the
phone before; `move_onsets` gives that silence back to the stop.
"""

import ctypes
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OWN_VARIANTS = 100
"""Speakers of our own making, `own0`...; the second half use the Klatt synthesiser."""
STOPS = ("p", "t", "k", "b", "d", "g", "ch", "jh")
LONGEST_CLOSURE_S = 0.16
_PHONE_EVENT, _END = 7, 0
_RATE, _VOLUME, _PITCH, _RANGE, _WORDGAP = 1, 2, 3, 4, 7


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    )


class _VoiceQuery(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


def own_variant(number: int) -> str:
    """The text of a variant file: one random speaker (vocal tract length, formant widths, breath, Klatt source)."""
    rng = np.random.default_rng([20, number])
    klatt = number >= OWN_VARIANTS // 2
    female = bool(rng.random() < 0.5)
    tract = rng.uniform(1.04, 1.24) if female else rng.uniform(0.86, 1.06)
    base = rng.uniform(140, 215) if female else rng.uniform(70, 125)
    lines = ["language variant", f"name own{number}", f"gender {'female' if female else 'male'}"]
    lines.append(f"pitch {base:.0f} {base * rng.uniform(1.3, 1.75):.0f}")
    for formant in range(9):
        frequency = 100 * tract * (rng.uniform(0.95, 1.05) if formant else 1.0)
        height, width = rng.uniform(70, 115), rng.uniform(80, 150 if formant else 110)
        lines.append(f"formant {formant} {frequency:.0f} {height:.0f} {width:.0f}")
    if klatt:
        lines.append(f"klatt {rng.choice([1, 2, 3, 4, 5])}")
        lines.append(f"voicing {rng.uniform(60, 120):.0f}")
    else:
        lines.append(f"roughness {rng.integers(0, 4)}")
        lines.append(f"flutter {rng.integers(0, 6)}")
        if rng.random() < 0.5:
            lines.append("breath " + " ".join(str(int(v)) for v in rng.uniform(0, 4, 8)))
    lines.append(
        f"tone 600 {rng.uniform(120, 255):.0f} 1200 {rng.uniform(90, 200):.0f} 2000 {rng.uniform(50, 200):.0f}"
    )
    lines.append(f"consonants {rng.uniform(70, 140):.0f} {rng.uniform(70, 140):.0f}")
    return "\n".join(lines) + "\n"


def prepare_data(source: Path, target: Path) -> None:
    """A data directory of links into `source`, with our own variants, and without echo (it fills closures)."""
    for entry in source.iterdir():
        if entry.name != "voices":
            (target / entry.name).symlink_to(entry)
    variants = target / "voices" / "!v"
    variants.mkdir(parents=True)
    for entry in (source / "voices" / "!v").iterdir():
        lines = entry.read_text(errors="replace").splitlines()
        (variants / entry.name).write_text("\n".join(x for x in lines if not x.strip().startswith("echo")) + "\n")
    for number in range(OWN_VARIANTS):
        (variants / f"own{number}").write_text(own_variant(number))


def move_onsets(audio: NDArray[np.int16], starts: list[int], symbols: list[tuple[str, ...]], rate: int) -> list[int]:
    """Start samples with every stop's onset moved back over the digital silence just before it."""
    moved = list(starts)
    for index in range(1, len(starts)):
        if not symbols[index] or symbols[index][0] not in STOPS:
            continue
        at = starts[index]
        floor = max(moved[index - 1] + rate // 100, at - int(LONGEST_CLOSURE_S * rate))
        probe = at
        # the event may lie a few samples after the first of the burst
        for back in range(0, min(rate // 200, at - floor)):
            if abs(int(audio[at - back - 1])) <= 1:
                probe = at - back
                break
        while probe > floor and abs(int(audio[probe - 1])) <= 1:
            probe -= 1
        moved[index] = probe if at - probe > rate // 200 else at
    return moved


class Engine:
    """One loaded library; a process can hold one."""

    def __init__(self, data: Path) -> None:
        import espeakng_loader

        prepare_data(Path(espeakng_loader.get_data_path()), data)
        self.library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        phoneme_events_in_ipa = 1 | 2
        # 2 = synchronous without playback (AUDIO_OUTPUT_SYNCHRONOUS)
        self.rate: int = self.library.espeak_Initialize(2, 200, str(data).encode(), phoneme_events_in_ipa | 0x8000)
        if self.rate <= 0:
            raise RuntimeError(f"eSpeak NG does not accept its data folder {data}; reinstall espeakng-loader")
        self._audio: list[NDArray[np.int16]] = []
        self._events: list[tuple[int, str]] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self._callback = kind(self._collect)
        self.library.espeak_SetSynthCallback(self._callback)

    def _collect(self, wav: Any, count: int, events: Any) -> int:
        if wav and count > 0:
            self._audio.append(np.ctypeslib.as_array(wav, (count,)).copy())
        index = 0
        while events[index].type != _END:
            if events[index].type == _PHONE_EVENT:
                self._events.append((events[index].sample, events[index].string.decode("utf-8", "ignore")))
            index += 1
        return 0

    def speak(
        self, text: str, language: str, variant: str, rate: int, pitch: int, span: int
    ) -> tuple[NDArray[np.int16], list[int], list[str]]:
        """Samples, and for every event its start sample and IPA."""
        query = _VoiceQuery(languages=language.encode())
        name = f"{language}+{variant}" if variant else language
        if self.library.espeak_SetVoiceByName(name.encode()) != 0:
            if self.library.espeak_SetVoiceByProperties(ctypes.byref(query)) != 0:
                raise RuntimeError(f"eSpeak NG has no language {language!r}")
            if variant:
                current = self.library.espeak_GetCurrentVoice
                current.restype = ctypes.POINTER(_VoiceQuery)
                path = current().contents.identifier.decode()
                self.library.espeak_SetVoiceByName(f"{path.split('/')[-1]}+{variant}".encode())
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, span), (_VOLUME, 70)):
            self.library.espeak_SetParameter(parameter, value, 0)
        self._audio, self._events = [], []
        raw = text.encode()
        self.library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breathy voices: else seeded by the clock
        utf8_with_phonemes = 1
        self.library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, utf8_with_phonemes, None, None)
        audio = np.concatenate(self._audio) if self._audio else np.zeros(0, np.int16)
        return audio, [max(sample, 0) for sample, _ in self._events], [ipa for _, ipa in self._events]


def main(arguments: list[str]) -> int:
    """The program that `parlante.synth.voice` runs."""
    jobs = json.load(sys.stdin)
    arrays: dict[str, NDArray[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Path(folder))
        for index, job in enumerate(jobs):
            audio, starts, ipa = engine.speak(*job)
            arrays[f"audio{index}"] = audio
            arrays[f"start{index}"] = np.array(starts, np.int64)
            arrays[f"ipa{index}"] = np.array(ipa, dtype=np.str_)
        arrays["rate"] = np.array(engine.rate)
    np.savez(arguments[0], **arrays)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
