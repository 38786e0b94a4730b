"""Speech for a character: one's own mesh, or a rigged file whose own morph targets and bones are played."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from parlante.animation.fitted import fitted
from parlante.animation.talker import AudioLike, Edit, Talker, also, fill
from parlante.core import InputError, atomic_path
from parlante.core.checks import check_type, output_list
from parlante.core.notes import note
from parlante.core.options import Picture
from parlante.export import AnimationInfo, check_outputs, open_sinks
from parlante.export.frames import FrameBlock, FrameSink
from parlante.export.row_buffer import RowBuffer

RIGGED = (".glb", ".vrm", ".gltf")


def is_rigged(path: Path | str) -> bool:
    """Whether this is a file of the kind that rigged characters come in."""
    return Path(path).suffix.lower() in RIGGED and Path(path).is_file()


def animate_character(
    speech: AudioLike,
    outputs: Sequence[Path | str] | Path | str,
    character: Path | str,
    *,
    parts: str = "auto",
    picture: Picture | None = None,
    progress: Callable[[int, int], None] | None = None,
    live: Callable[[AnimationInfo], FrameSink] | None = None,
    talker: Talker | None = None,
    audio_track: int | None = None,
    edit: Edit | None = None,
    **casting: Any,
) -> AnimationInfo:
    """Write `character` saying `speech` to `outputs`.

    character: a folder made by `parlante character build`, a mesh (.obj, .ply, or .glb without morph targets) that is
    built on the spot, or a rigged .glb, .vrm or .gltf, of which a copy with one more animation is written. parts: which
    parts of ours a mesh gets, or a folder keeps: auto, none, eyes, mouth or all. `live`: as for `Talker.write`. talker:
    who speaks; the default if none. audio_track, edit: as for `Talker.write`. casting: the keywords of `Talker.cast`.
    A calibration that lies with the character is applied last, see `animation.fitted`.
    Raises InputError for anything that cannot be used.
    """
    outputs = output_list(outputs)
    check_type("character", character, (str, Path), "a folder, a mesh or a rigged file")
    path, talker = Path(character), talker or Talker.from_pretrained()
    if is_rigged(path):
        from parlante.retarget.rig.rigged import read_rig

        rig = read_rig(path)
        if rig.refusal is not None:
            raise InputError(rig.refusal)
        if rig.useful:
            for line in rig.facts:
                note(f"{path.name}: {line}")
            return _animate_rig(speech, outputs, rig, progress, live, talker, audio_track, edit, casting)
        if rig.targets or rig.parts.nameless or rig.parts.kind != "glTF":
            for line in rig.facts:
                if not line.startswith("missing"):
                    note(f"{path.name}: {line}")
            note(f"{path.name}: nothing of its rig moves the mouth; a new head is made of its mesh and speaks instead")
    return _animate_mesh(speech, outputs, path, parts, picture, progress, live, talker, audio_track, edit, casting)


def _animate_mesh(
    speech: AudioLike,
    outputs: Sequence[Path | str],
    path: Path,
    parts: str,
    picture: Picture | None,
    progress: Callable[[int, int], None] | None,
    live: Callable[[AnimationInfo], FrameSink] | None,
    talker: Talker,
    audio_track: int | None,
    edit: Edit | None,
    casting: dict[str, Any],
) -> AnimationInfo:
    from parlante.retarget.mesh import Character, build_character
    from parlante.retarget.mesh.play import retarget

    check_outputs(outputs)
    if not path.exists():
        raise InputError(f"no such character: {path}")
    refused = Path(f"{path.stem}.refused.png")
    played = (
        Character.load(path).keep_parts(parts) if path.is_dir() else build_character(path, parts=parts, refused=refused)
    )
    like = (played.report or {}).get("like")
    casting["identity"] = casting.get("identity") or like
    with talker.noted(speech, talker.cast(**casting), audio_track, edit) as (info, blocks):
        info, blocks = retarget(*fitted(path, info, blocks), played)
        with also(live, info) as extra, open_sinks(outputs, info, picture) as sinks:
            fill(info, blocks, [*extra, *sinks], progress)
    return info


def _animate_rig(
    speech: AudioLike,
    outputs: Sequence[Path | str],
    rig: Any,
    progress: Callable[[int, int], None] | None,
    live: Callable[[AnimationInfo], FrameSink] | None,
    talker: Talker,
    audio_track: int | None,
    edit: Edit | None,
    casting: dict[str, Any],
) -> AnimationInfo:
    kinds, beside = (RIGGED[2:] if rig.file.text else RIGGED[:2]), rig.file.beside()
    for output in outputs:
        if Path(output).suffix.lower() not in kinds:
            raise InputError(
                f"{rig.path.name} is rigged and written as {' or '.join(kinds)}, not {output}; for pictures make a "
                "character of its mesh with parlante character build"
            )
        if beside and Path(output).resolve().parent != rig.path.resolve().parent:
            raise InputError(
                f"{rig.path.name} needs {beside[0]} beside it ({len(beside)} files); write the output into that "
                "folder too, or make one file of it first, for example with: gltf-transform copy in.gltf out.glb"
            )
        if Path(output).exists() and Path(output).samefile(rig.path):
            raise InputError(f"{output} is the character itself; name another output with -o")
    weights, poses = RowBuffer(), RowBuffer()

    def keep(block: FrameBlock) -> None:
        assert block.weights is not None
        weights.append(block.weights)
        if block.head_pose is not None:
            poses.append(block.head_pose)

    cast = talker.cast(skin=False, **casting)
    with talker.noted(speech, cast, audio_track, edit) as (info, blocks), also(live, info) as extra:
        info.provenance["identity"] = rig.path.stem
        fill(*fitted(rig.path, info, blocks), extra, progress, keep)
        if outputs:
            content = rig.animated(weights.array(), info.fps, poses.array() if poses else None, name="speech")
        for output in outputs:
            with atomic_path(output) as partial:
                partial.write_bytes(content)
    return info
