"""Writing a clip store (see `clip_store`): atomic clip by clip, from any number of writers, and resumable."""

import io
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parlante.core import Clip, InputError, Topology
from parlante.core.files import why
from parlante.core.pictures import picture
from parlante.core.typed import parse_json
from parlante.data.contract import ClipInfo, SubjectInfo
from parlante.data.lazy import DamagedFrame
from parlante.data.store.clip_store import CHUNK, FORMAT, info_of, read_json, zarr_library
from parlante.data.store.storage_root import CannotWrite, StorageRoot

_AUDIO_CHUNK = 1 << 18


class StoreWriter:
    """Writes clips into a new store, or goes on with one. Any number of writers may share a store.

    Args:
        root: folder or URL.
        dataset, fps, unit, vertices: of all clips (see `Corpus`).
        topology: of all clips.
        options: what else a store depends on; a store made with other options is refused.

    Raises:
        InputError: the root is something else, was made otherwise, or cannot be written.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        dataset: str,
        fps: float,
        unit: str,
        topology: Topology,
        sample_rate: int = 16000,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        zarr_library()
        self.storage = StorageRoot(root)
        self.head = {
            "format": FORMAT,
            "dataset": dataset,
            "fps": fps,
            "sample_rate": sample_rate,
            "unit": unit,
            "vertices": topology.num_vertices,
        }
        self._claim({**self.head, "options": dict(options or {})})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, triangles=topology.triangles, uv=topology.uv, uv_triangles=topology.uv_triangles)
        self.storage.write("topology.npz", buffer.getvalue())

    def _claim(self, wanted: dict[str, Any]) -> None:
        wanted = json.loads(json.dumps(wanted))
        if self.storage.exists("writing.json"):
            found = read_json(self.storage, "writing.json")
            if found != wanted:
                known = found if isinstance(found, dict) else {}
                differ = [key for key in wanted if known.get(key) != wanted[key]]
                raise InputError(f"{self.storage} was prepared with another {', '.join(differ)}; choose another folder")
            return
        root = Path(self.storage.root)
        if self.storage.local and root.exists() and (not root.is_dir() or any(root.iterdir())):
            for _ in range(20):  # another writer may be at this very line
                if self.storage.exists("writing.json"):
                    self._claim(wanted)
                    return
                time.sleep(0.05)
            raise InputError(f"{self.storage} exists and is no clip store; choose a new folder")
        self.storage.write("writing.json", json.dumps(wanted, indent=1).encode())

    def subject(self, info: SubjectInfo, neutral: NDArray[Any] | None, albedo: bytes = b"") -> None:
        """A subject: what is known of it, its neutral face (V, 3) or none, the PNG or JPEG of its skin."""
        stem = f"subjects/{quote(info.name, safe='')}"
        if neutral is not None:
            buffer = io.BytesIO()
            picture_bytes = np.frombuffer(albedo, np.uint8)
            np.savez_compressed(buffer, neutral=np.asarray(neutral, np.float32), albedo=picture_bytes)
            self.storage.write(f"{stem}.npz", buffer.getvalue())
        known = {**_stated(info), "neutral": neutral is not None}
        self.storage.write(f"{stem}.json", json.dumps(known).encode())

    def written(self, key: str, signature: str) -> bool:
        """Whether a clip stands there already, made from what `signature` stands for."""
        name = _marker(key)
        return (
            bool(signature)
            and self.storage.exists(name)
            and read_json(self.storage, name).get("signature") == signature
        )

    def add(
        self,
        clip: Clip,
        split: str,
        *,
        sentence: str = "",
        first: int | None = None,
        starts_at_rest: bool = False,
        signature: str = "",
        neutral: NDArray[Any] | None = None,
        pictures: Iterable[bytes] | None = None,
        problems: Sequence[str] = (),
        part_of: str = "",
    ) -> None:
        """Write a clip; one of the same key is replaced.

        split, sentence, first, starts_at_rest: see `ClipInfo`. neutral: (V, 3), from which offsets are measured (none:
        from the first frame). pictures: the PNG or JPEG files of the frames, kept as they are; without them the clip's
        textures are stored as PNG. problems: what `finish` tells of it. part_of: the clip with which it stands and
        falls, where it is what is left of one. Raises InputError if frames are not of the store's shape or pictures
        are too few, DamagedFrame for one that is not finite or whose picture cannot be read, CannotWrite if the storage
        is full.
        """
        key = clip.key
        folder = f"{quote(key, safe='')}-{uuid.uuid4().hex[:8]}"
        frames = len(clip.vertices)
        if tuple(clip.vertices.shape[1:]) != (self.head["vertices"], 3) or frames == 0 or not len(clip.audio):
            raise InputError(
                f"{key}: {frames} frames of {clip.vertices.shape[1]} vertices and {len(clip.audio)} samples; "
                f"wanted some of {self.head['vertices']} vertices"
            )
        if not np.isfinite(clip.audio).all():
            raise InputError(f"{key}: its audio has samples that are not finite numbers")
        info = ClipInfo(
            key=key,
            subject=clip.subject,
            split=split,
            frames=frames,
            samples=len(clip.audio),
            sentence=sentence,
            text=clip.text,
            first=first,
            starts_at_rest=starts_at_rest,
        )
        row = _stated(info) | ({"problems": list(problems)} if problems else {})
        row |= {"part_of": part_of} if part_of else {}
        try:
            row.update(self._vertices(folder, clip, neutral))
            audio = self._new(folder, "audio", clip.audio.shape, (min(len(clip.audio), _AUDIO_CHUNK),))
            audio[:] = np.asarray(clip.audio, np.float32)
            if pictures is None and clip.textures is not None:
                pictures = _as_png(clip.textures)
            if pictures is not None:
                row.update(self._pictures(folder, key, frames, pictures))
            row.update(folder=folder, signature=signature)
            previous = (
                read_json(self.storage, _marker(key)).get("folder") if self.storage.exists(_marker(key)) else None
            )
            self.storage.write(_marker(key), json.dumps(row).encode())
        except BaseException as error:
            self.storage.remove(f"data/{folder}")
            if isinstance(error, OSError):
                raise CannotWrite(f"cannot write {self.storage}: {error.strerror or error}") from error
            raise
        if previous:
            self.storage.remove(f"data/{previous}")

    def finish(self, keys: Iterable[str] | None = None) -> tuple[list[ClipInfo], list[str]]:
        """Write the index of all clips, once no writer is at work any more; return them, and what is told of them.

        keys: the clips that belong to the store and their order; others are removed. Raises InputError if there are
        none.
        """
        rows = {row["key"]: row for row in self._known("clips")}
        if keys is not None:
            rows = self._belonging(rows, list(dict.fromkeys(keys)))
        if not rows:
            raise InputError(f"no clip was written to {self.storage}")
        used = {row["subject"] for row in rows.values()}
        subjects = {name: {"neutral": False} for name in sorted(used)}
        for known in self._known("subjects"):
            if known["name"] in used:
                subjects[known["name"]] = {key: value for key, value in known.items() if key != "name"}
        index = {**self.head, "subjects": subjects, "clips": list(rows.values())}
        self.storage.write("store.json", json.dumps(index).encode())
        kept = {row["folder"] for row in rows.values()}
        for name in self.storage.names("data"):  # what interrupted or replaced writing left behind
            if name not in kept:
                self.storage.remove(f"data/{name}")
        problems = [text for row in rows.values() for text in row.get("problems", ())]
        return [info_of(row) for row in rows.values()], problems

    def _belonging(self, rows: dict[str, dict[str, Any]], wanted: list[str]) -> dict[str, dict[str, Any]]:
        """The rows of wanted clips, each followed by its parts; the others are removed."""
        parts: dict[str, list[dict[str, Any]]] = {}
        for row in rows.values():
            whole = rows.get(row.get("part_of", ""))
            if whole is not None and whole["signature"] == row["signature"]:
                parts.setdefault(whole["key"], []).append(row)
        kept = {}
        for key in wanted:
            if key in rows:
                kept[key] = rows[key]
                kept |= {row["key"]: row for row in sorted(parts.get(key, []), key=lambda row: row["first"])}
        for key in set(rows) - set(kept):
            self.storage.remove(_marker(key))
        return kept

    def _known(self, folder: str) -> list[dict[str, Any]]:
        """What the small files of a folder say."""
        names = [n for n in self.storage.names(folder) if n.endswith(".json") and not n.startswith(".")]
        try:
            contents = self.storage.read_all([f"{folder}/{name}" for name in names])
        except OSError as error:
            raise InputError(f"cannot read {self.storage}/{folder}: {why(error)}; prepare into a new folder") from error
        wanted = "a folder that parlante prepare began, or prepare into a new one"
        return [parse_json(each, f"{self.storage}/{folder}/{name}", wanted) for name, each in zip(names, contents)]

    # -- the parts of a clip

    def _new(self, folder: str, name: str, shape: tuple[int, ...], chunks: tuple[int, ...]) -> Any:
        zarr = zarr_library()
        return zarr.create_array(
            self.storage.zarr(f"data/{folder}/{name}", False),
            shape=shape,
            chunks=chunks,
            dtype="float32",
            compressors=zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
            fill_value=float("nan"),  # so that a chunk that got lost is noticed
        )

    def _vertices(self, folder: str, clip: Clip, neutral: NDArray[Any] | None) -> dict[str, Any]:
        frames, count = clip.vertices.shape[:2]
        array = self._new(folder, "vertices", (frames, count, 3), (min(CHUNK, frames), count, 3))
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for start in range(0, frames, CHUNK):
            block = np.asarray(clip.vertices[start : start + CHUNK], np.float32)
            if not np.isfinite(block).all():
                bad = start + int(np.flatnonzero(~np.isfinite(block).all((1, 2)))[0])
                raise DamagedFrame(bad, f"{clip.key}: frame {bad} has numbers that are not finite")
            neutral = block[0] if neutral is None else neutral
            offsets = block - neutral
            low, high = np.minimum(low, offsets.min((0, 1))), np.maximum(high, offsets.max((0, 1)))
            array[start : start + len(block)] = block
        return {"minimum": low.tolist(), "maximum": high.tolist()}

    def _pictures(self, folder: str, key: str, frames: int, pictures: Iterable[bytes]) -> dict[str, Any]:
        ends: list[int] = []
        size = None
        with self.storage.writing(f"data/{folder}/textures.bin") as file:
            for number, data in enumerate(pictures):
                try:
                    found = list(picture(data, f"picture {number} of {key}").shape[:2])
                except InputError as error:
                    raise DamagedFrame(number, str(error)) from error
                if size not in (None, found):
                    raise DamagedFrame(number, f"{key}: picture {number} has {found} pixels, the first {size}")
                size = found
                file.write(data)
                ends.append((ends[-1] if ends else 0) + len(data))
        if len(ends) != frames:
            raise InputError(f"{key}: {len(ends)} pictures for {frames} frames")
        return {"texture_size": size, "texture_ends": ends}


def _stated(info: ClipInfo | SubjectInfo) -> dict[str, Any]:
    """The fields of which something is known, for JSON."""
    found = {field.name: getattr(info, field.name) for field in fields(info)}
    return {name: value for name, value in found.items() if value not in ("", None) and value is not False}


def _marker(key: str) -> str:
    return f"clips/{quote(key, safe='')}.json"


def _as_png(frames: Any) -> Iterator[bytes]:
    for number in range(len(frames)):
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(frames[number])).save(buffer, "png")
        yield buffer.getvalue()
