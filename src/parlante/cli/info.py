"""`parlante info [FILE ...]`."""

import argparse
from pathlib import Path

EPILOG = """examples:
  parlante info                what is installed and embedded
  parlante info talk.npz       what is in a file (.npz, .glb, .vrm, .vrma, .style, or any recording)
  parlante info me.character   what a character's, a model's or a run's folder is
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="animation (.npz), model (.glb, .vrm), style, recording, or folder"
    )


def run(options: argparse.Namespace) -> int:
    """Print the facts. Raises InputError for a file that cannot be read."""
    if not options.files:
        _installation()
    for number, name in enumerate(options.files):
        if number:
            print()
        _file(Path(name))
    return 0


def _installation() -> None:
    import parlante
    from parlante.head import load_head
    from parlante.models.checkpoint import read_head

    print(f"parlante {parlante.__version__}")
    head = load_head()
    topology = head.topology
    print(f"head: {topology.num_vertices} vertices, {len(topology.triangles)} triangles, 52 ARKit shapes")
    names = sorted(head.identity_names)
    print(f"identities ({len(names)}):")
    width = max(len(name) for name in names) + 2
    columns = max(1, 100 // width)
    for start in range(0, len(names), columns):
        print("  " + "".join(name.ljust(width) for name in names[start : start + columns]).rstrip())
    assets = Path(parlante.__file__).parent / "assets"
    print("embedded:")
    for folder in sorted(path for path in assets.iterdir() if path.is_dir() or path.suffix):
        files = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        config = folder / "config.json"
        model = ""
        if config.is_file():
            model = read_head(folder).model
        print(f"  {folder.name:<16} {size / 1e6:7.2f} MB  {model}".rstrip())
    _doors()


def _doors() -> None:
    """What can be named in commands, that of plug-ins included."""
    from parlante.data.registry import datasets
    from parlante.export import formats
    from parlante.models.registry import families

    lists = (
        ("families", [(spec.name, spec.title) for spec in families().values()]),
        ("datasets", [(spec.name, spec.title) for spec in datasets().values()]),
        ("formats", [(suffix, each.description) for suffix, each in formats().items()]),
    )
    for what, items in lists:
        print(f"{what}:")
        for name, title in items:
            print(f"  {name:<18} {title}".rstrip())


def _file(path: Path) -> None:
    from parlante.core import InputError

    if not path.exists():
        raise InputError(f"no such file: {path}")
    kind = path.suffix.lower()
    if path.is_dir():
        _folder(path)
    elif kind == ".style":
        from parlante.cli import style

        style.run(argparse.Namespace(action="info", styles=[str(path)]))
    elif kind in (".npz", ".glb", ".vrm", ".vrma"):
        print(path)
        _npz(path) if kind == ".npz" else _glb(path)
    else:
        _recording(path)


def _folder(path: Path) -> None:
    from parlante.core import InputError
    from parlante.core.files import model_folder
    from parlante.models.checkpoint import read_head

    path = model_folder(path)
    config = path / "config.json"
    if (path / "shapes.npz").is_file() and config.is_file():
        from parlante.cli import character

        character.run(argparse.Namespace(action="info", character=path))
        return
    if not config.is_file():
        if (path / "recipe.yaml").is_file():
            raise InputError(
                f"{path} has not exported a model yet; finish the training (parlante train --resume {path})"
            )
        raise InputError(f"{path} is a folder without a model or a character; name one of the files in it")
    model = read_head(path).model
    print(f"{path}\n  model: {model}")
    for file in sorted(path.rglob("*")):
        if file.is_file():
            print(f"  {file.relative_to(path)!s:<32} {file.stat().st_size / 1e6:8.2f} MB")


def _npz(path: Path) -> None:
    from parlante.export.npz import describe, open_stream

    info, _ = open_stream(path)
    print(f"  {info.num_frames} frames at {info.fps:g} fps, {info.duration:.2f} s, topology {info.topology.name}")
    for key, value in info.provenance.items():
        print(f"  {key}: {value}")
    for key, (shape, kind) in describe(path).items():
        if not key.startswith(("region_", "landmark_")):
            print(f"  {key:<14} {kind} {tuple(shape)}")


def _glb(path: Path) -> None:
    from parlante.core import InputError
    from parlante.retarget.rig.gltf import read_gltf

    document = read_gltf(path).root
    try:
        accessors = document.get("accessors", [])
        for mesh in document.get("meshes", []):
            primitives = mesh["primitives"]
            vertices = accessors[primitives[0]["attributes"]["POSITION"]]["count"]
            targets = mesh.get("extras", {}).get("targetNames", [])
            count = len(primitives[0].get("targets", []))
            print(f"  mesh {mesh.get('name', '')!r}: {vertices} vertices, {len(primitives)} parts, {count} targets")
            if targets:
                print(f"    {', '.join(map(str, targets))}")
        for animation in document.get("animations", []):
            seconds = max(accessors[sampler["input"]]["max"][0] for sampler in animation["samplers"])
            paths = ", ".join(channel["target"]["path"] for channel in animation["channels"])
            print(f"  animation {animation.get('name', '')!r}: {seconds:.2f} s, {paths}")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no valid glTF: {error!r}; export it again") from error
    print(f"  {len(document.get('materials', []))} materials, {len(document.get('images', []))} pictures")
    targets = any(primitive.get("targets") for mesh in document.get("meshes", []) for primitive in mesh["primitives"])
    if targets or document.get("skins") or {"VRM", "VRMC_vrm"} & set(document.get("extensions") or ()):
        from parlante.retarget.rig.rigged import read_rig

        first, *facts = read_rig(path).describe()
        print(f"  as a character: {first.partition(': ')[2]}")
        for line in facts:
            print(f"  {line}")


def _recording(path: Path) -> None:
    from parlante.audio.audio_file import opened
    from parlante.audio.io import Track, blocks, survey
    from parlante.cli._notes import shown_notes
    from parlante.core import InputError

    def told(track: Track) -> str:
        kind = f"{track.codec}, {track.channels} channel{'s' * (track.channels != 1)} at {track.sample_rate} Hz"
        return f"{kind}, {track.seconds:.2f} s, peak {track.peak:.3f}"

    with shown_notes("info"):
        try:
            with opened(path) as source:
                found = survey(source)
                seconds = sum(len(block) for block in blocks(found, 16000)) / 16000
        except InputError as error:
            raise InputError(
                f"{error}; parlante info reads recordings, .npz, .glb, .vrm, .vrma, .style and folders"
            ) from None
        print(f"{path}\n  {found.container}: {seconds:.2f} s from its beginning to its end")
        for track in found.tracks:
            used = " (used)" if track is found.chosen and len(found.tracks) > 1 else ""
            print(f"  audio track {track.number}: {told(track)}{used}")
        found.tell()
