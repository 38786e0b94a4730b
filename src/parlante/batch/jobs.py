"""The jobs of a batch: recordings to animate, clips to encode, identities to prepare."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parlante.batch.runner import Job
from parlante.core import InputError, claim_folder
from parlante.core.options import Picture
from parlante.export import check_fit, check_outputs, formats, shows_skin

if TYPE_CHECKING:
    from parlante.data.prepare import Packer

RECORDINGS = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma")
"""Suffixes that make a file of a folder a recording; a file that is named itself may have any."""
MARKER = "bulk.json"


def claim(folder: Path, command: str, options: dict[str, Any], *, again: bool = False) -> None:
    """Make `folder` the output of a batch command, or go on with it.

    Raises InputError if it holds something else, or was made with other options and not `again`.
    """
    wanted = {"format": 1, "command": command, **options}

    def renew(found: Any) -> bool:
        return again and isinstance(found, dict) and found.get("command") == command

    claim_folder(folder, MARKER, wanted, made="made", kind="output of parlante batch", renew=renew, update=_updated)


def _updated(found: Any) -> Any:
    """Settings of a folder that was begun when `model` was called source and there was one device."""
    how = found.get("how") if isinstance(found, dict) else None
    if not isinstance(how, dict) or "source" not in how:
        return found
    kept = {name: value for name, value in how.items() if name != "source"}
    return {**found, "how": {"device": "cpu", **kept, "model": how["source"]}}


def sweep(folder: Path) -> None:
    """Remove what lost workers left half-written below a claimed folder, once no worker is at work in it."""
    for path in sorted(folder.rglob(".*.part*")):
        if not re.fullmatch(r"\..+\.\d+\.part(\.\w+)?", path.name) or path.is_symlink():
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


# -- animate


def find_recordings(sources: Sequence[Path | str], target: Path) -> dict[Path, Path]:
    """recording -> where its outputs go, without suffix: folders are searched and keep their inner structure.

    Raises InputError for a source that does not exist, no recordings, two that would share outputs, or a target that
    lies in a source.
    """
    found: dict[Path, Path] = {}
    for source in map(Path, sources):
        if source.is_file():
            found[source] = target / source.stem
        elif source.is_dir():
            if target.resolve().is_relative_to(source.resolve()):
                raise InputError(f"{target} lies within the source {source}; choose a folder of its own for outputs")
            for path in sorted(source.rglob("*")):
                if path.suffix.lower() in RECORDINGS and path.is_file() and not path.name.startswith("."):
                    found[path] = target / path.relative_to(source).with_suffix("")
        else:
            raise InputError(f"no such file or folder: {source}")
    if not found:
        raise InputError(f"no recordings in {', '.join(map(str, sources))}; they end in {', '.join(RECORDINGS)}")
    owners: dict[Path, Path] = {}
    for recording, place in found.items():
        if place in owners:
            raise InputError(f"{owners[place]} and {recording} would share their outputs {place}.*; rename one of them")
        owners[place] = recording
    return found


def output_suffix(text: str) -> str:
    """`mp4`, `.mp4`, `obj/`, `frames` (a folder of pictures) -> a suffix of `export.formats`. Raises InputError."""
    wish = "/" if text in ("frames", "/") else f".{text.removeprefix('.')}".lower()
    for suffix in (wish, f"{wish}/"):
        if suffix in formats():
            return suffix
    raise InputError(f"unknown format {text!r}; choose frames or {', '.join(key for key in formats() if key != '/')}")


def animate_jobs(
    recordings: dict[Path, Path], suffixes: Sequence[str], common: dict[str, Any], *, again: bool = False
) -> tuple[list[Job], int]:
    """A job for each recording whose outputs are missing or older than it, and how many have theirs.

    common: `how` (keywords of `Talker.cast`, model and device), `picture`, `character`, `parts`. The largest
    recordings come first.
    """
    jobs, kept = [], 0
    for recording, place in sorted(recordings.items(), key=lambda pair: (-pair[0].stat().st_size, pair[0])):
        outputs = [f"{place}{suffix}" for suffix in suffixes]
        if not again and all(_current(output, recording) for output in outputs):
            kept += 1
            continue
        arguments = {"speech": str(recording.resolve()), "outputs": outputs, "again": again, **common}
        jobs.append(Job(str(recording), f"{__name__}:animate_recording", arguments))
    return jobs, kept


def check_performance(suffixes: Sequence[str], how: dict[str, Any], character: str | None = None) -> None:
    """Raises InputError where talker, identity, styles or outputs do not go together; animates nothing."""
    from parlante.animation.character import is_rigged

    rigged = character is not None and is_rigged(character)
    model, device, casting = _split(how)
    talker = _talker(model, device)
    info, _ = talker.stream((np.zeros(1600), 16000), talker.cast(skin=False, **casting))
    if not rigged:
        check_fit([f"any{suffix}" for suffix in suffixes], info)


def animate_recording(
    speech: str,
    outputs: list[str],
    how: dict[str, Any],
    picture: dict[str, Any],
    character: str | None = None,
    parts: str = "auto",
    again: bool = False,
) -> None:
    """Write those outputs that are missing or out of date. Raises InputError as `animate_to`."""
    missing = [output for output in outputs if again or not _current(output, Path(speech))]
    if not missing:
        return
    model, device, casting = _split(how)
    talker = _talker(model, device)
    if character is None:
        talker.write(speech, missing, talker.cast(skin=shows_skin(missing), **casting), picture=Picture(**picture))
        return
    from parlante.animation.character import animate_character

    check_outputs(missing)
    animate_character(speech, missing, character, parts=parts, picture=Picture(**picture), talker=talker, **casting)


def _split(how: dict[str, Any]) -> tuple[str | None, str, dict[str, Any]]:
    """Model, device, and the keywords of `Talker.cast`."""
    casting = dict(how)
    return casting.pop("model", None), casting.pop("device", "cpu"), casting


@lru_cache(maxsize=2)
def _talker(model: str | None, device: str) -> Any:
    from parlante.animation import Talker

    return Talker.from_pretrained(model, device=device)


def _current(output: str, recording: Path) -> bool:
    path = Path(output)
    return path.exists() and path.stat().st_mtime >= recording.stat().st_mtime


# -- encode


def encode_jobs(
    data: Path | str, model: Path | str, target: Path, options: Any, *, batch: int, device: str
) -> tuple[list[Job], int]:
    """A job for each clip of a corpus without latents in `target`, and how many have theirs.

    options: `training.features.encoding_options.EncodingOptions`. Raises InputError as `encode_corpus`.
    """
    from parlante.training.features.encoding import claim as claim_encoding

    maps, models = _corpus(str(Path(data).resolve()), str(Path(model).resolve()), "cpu")
    claim_encoding(target, maps, models, options)
    common = {
        "data": str(Path(data).resolve()),
        "model": str(Path(model).resolve()),
        "target": str(target.resolve()),
        "options": asdict(options),
        "batch": batch,
        "device": device,
    }
    jobs = []
    for number, info in enumerate(maps.clips):
        if not (target / "latents" / f"{info.key}.safetensors").is_file():
            jobs.append(Job(info.key, f"{__name__}:encode_clip", {"number": number, **common}))
    return jobs, len(maps.clips) - len(jobs)


def encode_clip(
    data: str, model: str, target: str, options: dict[str, Any], number: int, batch: int, device: str
) -> None:
    """Write the latents of one clip, unless they are there."""
    from parlante.training.features.encoding import clip_latents
    from parlante.training.features.encoding_options import EncodingOptions

    maps, models = _corpus(data, model, device)
    clip_latents(maps, models, target, number, EncodingOptions(**options), batch=batch)


@lru_cache(maxsize=1)
def _corpus(data: str, model: str, device: str) -> tuple[Any, Any]:
    from parlante.training.features.corpus_maps import MapModels, open_maps

    models = MapModels.load(model).to(device)
    return open_maps(data, models), models


# -- prepare


def clip_jobs(
    dataset: str, source: str, target: str, arguments: dict[str, Any], made: dict[str, Any]
) -> tuple[list[Job], int]:
    """A job for each clip that a new clip store, or one to go on with, lacks, and how many it has.

    dataset, arguments: name and options of a dataset; made: what the store depends on. source and target mean the same
    to every worker. Raises InputError as `data.prepare.Packer`.
    """
    common = {"dataset": dataset, "source": source, "target": target, "arguments": arguments, "made": made}
    packer = _packer(json.dumps(common))
    jobs = []
    for index, info in enumerate(packer.corpus.clips):
        try:
            stands = packer.stands(index)
        except InputError:  # its job says why
            stands = False
        if not stands:
            jobs.append(Job(info.key, f"{__name__}:prepare_clip", {"key": info.key, **common}))
    return jobs, len(packer.corpus) - len(jobs)


def prepare_clip(key: str, **common: Any) -> None:
    """Verify and pack one clip, unless that is done. One that cannot be used is named when all are put together;
    raises CannotWrite for a full place."""
    from parlante.data.store.storage_root import CannotWrite

    packer = _packer(json.dumps(common))
    (index,) = [number for number, info in enumerate(packer.corpus.clips) if info.key == key]
    try:
        packer.pack(index)
    except CannotWrite:
        raise
    except InputError:
        return


@lru_cache(maxsize=1)
def _packer(common: str) -> "Packer":
    from parlante.data.prepare import Packer
    from parlante.data.registry import dataset

    how = json.loads(common)
    corpus = dataset(how["dataset"]).read(how["source"], options=how["arguments"])
    return Packer(corpus, how["target"], how["made"])
