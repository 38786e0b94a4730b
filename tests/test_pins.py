"""Every library that the package or one of its extras names is pinned, and the pin is one that it allows."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1].strip()
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line and not line.startswith("#")
}


def test_every_requirement_is_pinned() -> None:
    wanted = [
        *PROJECT["dependencies"],
        *(text for extra in PROJECT["optional-dependencies"].values() for text in extra),
    ]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name == PROJECT["name"]:
            continue
        assert name in PINS, f"{requirement} has no pin in constraints.txt"
        assert requirement.specifier.contains(PINS[name], prereleases=True), f"{PINS[name]} is not {requirement}"


def test_torch_is_the_build_that_plain_pip_finds() -> None:
    assert PINS["torch"] == "2.13.0" and not {"torchvision", "torchaudio"} & PINS.keys()


def test_the_lock_has_the_pinned_versions_with_hashes() -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 50
    for line in lines:
        pinned, _, digest = line.partition(" --hash=sha256:")
        name, version = pinned.split("==")
        assert len(digest) == 64 and PINS[canonicalize_name(name)] == version, f"{line}: run make lock"
