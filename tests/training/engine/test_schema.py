"""What a recipe may say: kinds of values, unknown names, old names, the key reference, and every shipped recipe."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from parlante.cli import main
from parlante.core import InputError
from parlante.core import renames as table
from parlante.core.ranges import Count, Positive, Range, Share
from parlante.core.renames import RENAMED
from parlante.training import find_stage, recipe_keys, stage_names
from parlante.training.engine.recipe import read_recipe
from parlante.training.engine.schema import Section, read, reference

RECIPES = Path(__file__).parents[3] / "recipes"
SHIPPED = sorted(RECIPES.rglob("*.yaml"))


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A section within a section."""

    depth: int = 1
    """How deep."""


@dataclass(frozen=True, kw_only=True)
class Outer:
    """One of each kind."""

    count: int
    """How many."""
    share: float = 0.5
    """Of the whole."""
    on: bool = False
    """Whether."""
    name: str = ""
    """Of a folder."""
    kind: Literal["a", "b"] = "a"
    """Which."""
    sizes: tuple[int, ...] = (1, 2)
    """All of them."""
    pair: tuple[float, float] = (0.0, 1.0)
    """From and to."""
    limit: int | None = None
    """At most; none: no limit."""
    dropout: Share = 0.0
    """A chance."""
    sides: tuple[Count, ...] = (1,)
    """Of all."""
    most: Positive | None = None
    """Or none."""
    inner: Inner = field(default_factory=Inner)
    """More."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")


def test_values_become_settings() -> None:
    given = {"count": 3, "share": "1e-3", "name": 2024, "sizes": [4, 5], "limit": None, "inner": {"depth": 2}}
    wanted = Outer(count=3, share=0.001, name="2024", sizes=(4, 5), inner=Inner(depth=2))
    assert read(Section(Outer), given, "own") == wanted
    assert read(Section(Outer, without=("count",)), {"share": 1}, "own") == {"share": 1}
    assert read(Section(Outer, only=("share",)), None, "own") == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"count": 1, "shares": 1}, "the recipe's own has no shares; did you mean share? it may have count, dropout,"),
        ({"count": 1, "inner": {"deep": 1}}, "the recipe's own.inner has no deep; did you mean depth?"),
        ({"count": 1, "inner": 3}, "the recipe's own.inner is 3, wanted settings"),
        ({"count": 0}, "the recipe's own cannot be used: count must be at least 1, got 0"),
        ({"count": True}, "count must be a whole number, got True"),
        ({"count": 1.5}, "count must be a whole number, got 1.5"),
        ({"count": 1, "share": "much"}, "share must be a number, got 'much'"),
        ({"count": 1, "on": 1}, "on must be true or false, got 1"),
        ({"count": 1, "name": [1]}, "name must be text, got [1]"),
        ({"count": 1, "kind": "c"}, "kind must be a or b, got 'c'"),
        ({"count": 1, "sizes": 3}, "sizes must be a list of whole numbers, got 3"),
        ({"count": 1, "pair": [1]}, "pair must be a list of 2 numbers, got [1]"),
        ({"count": 1, "limit": "x"}, "limit must be a whole number or none, got 'x'"),
        ({"count": 1, "dropout": 1.5}, "the recipe's own cannot be used: dropout must be a number in 0..1, got 1.5"),
        ({"count": 1, "dropout": -1}, "dropout must be a number in 0..1, got -1"),
        ({"count": 1, "dropout": float("nan")}, "dropout must be a number in 0..1, got nan"),
        ({"count": 1, "share": float("inf")}, "share must be a number, got inf"),
        ({"count": 1, "sides": [1, 0]}, "sides must be a list of whole numbers from 1 on, got [1, 0]"),
        ({"count": 1, "most": 0}, "most must be a number above 0 or none, got 0"),
        ({}, "the recipe needs own.count; use --set own.count=VALUE"),
        (3, "the recipe's own is 3, wanted settings, for example --set own.KEY=VALUE"),
    ],
)
def test_what_does_not_fit_is_named(given: Any, told: str) -> None:
    with pytest.raises(InputError) as error:
        read(Section(Outer), given, "own")
    assert told in str(error.value)


def test_the_reference_shows_types_defaults_and_meanings() -> None:
    rows = {key.name: key for key in reference(Section(Outer, defaults={"share": "half"}))}
    assert rows["count"] == ("count", "whole number", "", "How many.")
    assert rows["limit"] == ("limit", "whole number or none", "none", "At most; none: no limit.")
    assert rows["share"].default == "half"
    assert rows["sizes"].default == "[1, 2]" and rows["kind"].type == "a or b" and rows["name"].default == '""'


FREE = ("frame_offsets",)
"""Keys that may be any number."""


def _numbers(kind: Any) -> list[Any]:
    """The types of number in a key's type: (type, its ranges)."""
    if kind in (int, float):
        return [(kind, ())]
    parts = get_args(kind)
    if parts and parts[0] in (int, float) and any(isinstance(each, Range) for each in parts):
        return [(parts[0], parts[1:])]
    return [] if get_origin(kind) is Literal else [found for part in parts for found in _numbers(part)]


@pytest.mark.parametrize("name", stage_names())
def test_every_number_of_every_stage_has_a_range(name: str) -> None:
    for part, section in find_stage(name).sections.items():
        numbers = {key: _numbers(kind) for key, kind in section.types().items() if key not in FREE}
        assert [key for key, found in numbers.items() if not all(r for _, r in found)] == [], f"{part} of {name}"


@pytest.mark.parametrize(
    ("recipe", "change", "told"),
    [
        ("faceformer/small", "data.num_augmentations=-1", "num_augmentations must be a whole number from 0 on, got -1"),
        ("faceformer/small", "data.strength=-1", "strength must be a number from 0 on, got -1"),
        ("ptalker/small", "scheme.scheduled_sampling=2", "scheduled_sampling must be a number in 0..1, got 2"),
        ("talkingstyle/small", "loop.lr=.nan", "lr must be a number from 0 on, got nan"),
        ("textalker/motion_vqgan", "model.ch_mult=[0]", "ch_mult must be a list of whole numbers from 1 on, got [0]"),
        ("textalker/diffusion", "inference.steps=0", "steps must be a whole number from 1 on, got 0"),
    ],
)
def test_a_number_out_of_range_stops_before_a_folder_is_made(
    recipe: str, change: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = [f"data.{name}={tmp_path}/{name}" for name in ("corpus", "motion", "wrinkle")]
    keys = find_stage(read_recipe(RECIPES / f"{recipe}.yaml")["stage"]).sections["data"].types()
    rest = [each for each in rest if each.partition("=")[0].removeprefix("data.") in keys]
    sets = [word for each in (*rest, change) for word in ("--set", each)]
    assert main(["train", str(RECIPES / f"{recipe}.yaml"), *sets, "--out", str(tmp_path / "runs")]) == 2
    assert told in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", stage_names())
def test_every_key_of_every_stage_has_a_meaning(name: str) -> None:
    for part, section in find_stage(name).sections.items():
        assert [key.name for key in reference(section) if not key.meaning] == [], f"{part} of {name}"


def test_the_command_prints_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--keys", "ptalker"]) == 0
    told = capsys.readouterr().out
    assert told == recipe_keys("ptalker") and "| `scheduled_sampling` | number in 0..1 | `0.8` |" in told
    assert main(["train", "--keys"]) == 0
    assert all(f"## {name}\n" in recipe_keys() for name in stage_names())
    assert main(["train", "--keys", "ptalkr"]) == 2
    assert "did you mean 'ptalker'?" in capsys.readouterr().err


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(RECIPES)))
def test_shipped_recipes_are_read_under_todays_names(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a recipe leaves to the user are folders; nothing else is missing or unknown."""
    config = read_recipe(path)
    stage = find_stage(config["stage"])
    for name in ("corpus", "motion", "wrinkle", "encoded", "autoencoder", "voice_encoder"):
        if name in stage.sections["data"].types():
            config.setdefault("data", {}).setdefault(name, "folder")
    stage.read(config)
    assert capsys.readouterr().err == ""


# -- old names


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notices are given once in a process; here, once in a test."""
    monkeypatch.setattr(table, "_said", set())


def test_old_names_lead_to_keys_that_there_are() -> None:
    known = {"stage", "model"}
    for name in stage_names():
        known |= {f"{part}.{key}" for part, keys in find_stage(name).sections.items() for key in keys.types()}
    assert set(RENAMED["recipe key"].values()) <= known
    assert not set(RENAMED["recipe key"]) & known


def test_a_recipe_of_old_is_read(tmp_path: Path, fresh: None, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("stage: autoregressive\nmodel: {family: ptalker, width: 16}\nscheme: {own_past: 0.5, taps: [0]}\n")
    config = read_recipe(path, ["data.variants=1"])
    assert config == {
        "stage": "ptalker",
        "model": {"width": 16},
        "scheme": {"scheduled_sampling": 0.5, "frame_offsets": [0]},
        "data": {"num_augmentations": 1},
    }
    notices = capsys.readouterr().err.splitlines()
    assert len(notices) == 4 and all("the old name works until the next release" in line for line in notices)


def test_old_and_new_together_are_refused(tmp_path: Path, fresh: None) -> None:
    path = tmp_path / "both.yaml"
    path.write_text("stage: faceformer\nscheme: {own_past: 0.5, scheduled_sampling: 0.5}\n")
    with pytest.raises(InputError, match=r"scheme\.own_past and scheme\.scheduled_sampling, which is its name now"):
        read_recipe(path)
    path.write_text("stage: autoregressive\nmodel: {width: 3}\n")
    with pytest.raises(InputError, match=r"stage autoregressive needs model\.family"):
        read_recipe(path)
