"""Where a run came from: its recipe, versions, the state of the source tree, and fingerprints of its data."""

import hashlib
import importlib.metadata
import json
import logging
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from parlante.core import InputError, atomic_path
from parlante.core.renames import renamed
from parlante.core.typed import read_json

LIBRARIES = ("lightning", "numpy", "scipy", "safetensors", "transformers")
FILES = ("versions.json", "git.json", "data.json", "recipe.yaml", "training.log")
"""What a run folder holds before the first step."""
OUTPUTS = ("cache",)
"""Settings that name a place to write to, not data."""
ELSEWHERE = ("perceptual_file", "start_from")
"""Settings outside `data:` that name what is read."""

log = logging.getLogger("parlante.training")


def keep_provenance(config: dict[str, Any], run_dir: Path) -> None:
    """Write versions.json, git.json, data.json and, last, recipe.yaml into a new run folder. Raises InputError."""
    from parlante import __version__

    versions = {"parlante": __version__, "torch": torch.__version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    _write(run_dir / "versions.json", {**versions, "machine": platform.platform(), "command": sys.argv})
    _write(run_dir / "git.json", git_state(Path(__file__).parent))
    _write(run_dir / "data.json", fingerprints(config))
    with atomic_path(run_dir / "recipe.yaml") as path:
        path.write_text(yaml.safe_dump(config, sort_keys=False))


def _write(target: Path, content: dict[str, Any]) -> None:
    with atomic_path(target) as path:
        path.write_text(json.dumps(content, indent=1) + "\n")


def git_state(folder: Path) -> dict[str, Any]:
    """Commit, branch and changed files of the working tree around `folder`; empty where there is none."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=30, check=True
        ).stdout.rstrip("\n")

    try:
        return {
            "commit": ask("rev-parse", "HEAD"),
            "branch": ask("rev-parse", "--abbrev-ref", "HEAD"),
            "changed": ask("status", "--porcelain", "--untracked-files=no").splitlines(),
            "changes": hashlib.sha256(ask("diff", "HEAD").encode()).hexdigest(),
        }
    except (OSError, subprocess.SubprocessError):
        return {}


def fingerprints(config: dict[str, Any]) -> dict[str, str]:
    """setting -> hash of the file or folder that it names, for every path that the recipe reads.

    Of a file, the content counts; of a folder, the names and sizes of all files in it and the content of small JSON
    files at its top, so that hours of recordings take a moment.
    """
    found: dict[str, str] = {}
    for name, path in _paths(config):
        if path.exists():
            found[name] = " ".join(filter(None, (found.get(name), fingerprint(path))))
    return found


def _paths(config: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    for name, settings in config.items():
        for key, places in settings.items() if isinstance(settings, dict) else ():
            if key in OUTPUTS or (name != "data" and key not in ELSEWHERE):
                continue
            for place in places if isinstance(places, list) else [places]:
                if isinstance(place, str) and place:
                    yield f"{name}.{key}", Path(place)


def fingerprint(path: Path) -> str:
    """See `fingerprints`."""
    digest = hashlib.sha256()
    if path.is_file():
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()[:16]
    for found in sorted(p for p in path.rglob("*") if p.is_file()):
        size = found.stat().st_size
        digest.update(f"{found.relative_to(path).as_posix()}\0{size}\n".encode())
        if found.parent == path and found.suffix == ".json" and size < 1 << 26:
            digest.update(found.read_bytes())
    return digest.hexdigest()[:16]


def check_data(config: dict[str, Any], run_dir: Path) -> None:
    """Raises InputError where the data of a run is not what it was when the run began."""
    path = run_dir / "data.json"
    if not path.is_file():  # of an older version
        return
    kept = read_json(path, "the one that the run wrote, or start a new run")
    if not isinstance(kept, dict):
        raise InputError(f"{path} is not what a run writes; restore the run folder or start a new run")
    now = fingerprints(config)
    names = {old: renamed("recipe key", old) or old for old in kept}
    differ = [names[name] for name, value in kept.items() if now.get(names[name]) != value]
    if differ:
        raise InputError(
            f"{', '.join(differ)} of {run_dir} is not what the run began with; restore it or start a new run"
        )
