"""Headers are read as typed values, or refused in one line that names the place."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from parlante.core import InputError
from parlante.core.ranges import Count, Positive, Share
from parlante.core.typed import Mistyped, parse_json, read_header, read_json, typed


@dataclass(frozen=True)
class Row:
    key: str
    frames: Count


@dataclass(frozen=True)
class Index:
    rate: Positive
    rows: list[Row]
    mode: Literal["a", "b"] = "a"
    pair: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()
    scores: dict[str, Share] = field(default_factory=dict)
    note: str | None = None
    where: str | list[Row] = ""
    rest: Any = None

    def __post_init__(self) -> None:
        if self.rate == 13:
            raise ValueError("13 is no rate")


GOOD = {"rate": 30, "rows": [{"key": "x", "frames": 2, "more": []}], "scores": {"y": 0.5}, "names": ["n"], "new": 1}


def test_a_header_becomes_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "i.json").write_text(json.dumps(GOOD))
    found = read_header(Index, tmp_path / "i.json", "an index")
    assert found == Index(30, [Row("x", 2)], names=("n",), scores={"y": 0.5})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rate": None}, "rate must be a number above 0, got None"),
        ({"rate": True}, "rate must be"),
        ({"rate": float("nan")}, "rate must be"),
        ({"rate": 10**400}, "rate must be a number above 0, got a huge number"),
        ({"rate": "1e9"}, "rate must be"),
        ({"rate": 13}, "it cannot be used: 13 is no rate"),
        ({"rows": {}}, "rows must be a list of mappings, got {}"),
        ({"rows": [3]}, r"rows\[0\] must be a mapping, got 3"),
        ({"rows": [{"key": "x", "frames": -1}]}, r"rows\[0\].frames must be a whole number from 1 on, got -1"),
        ({"rows": [{"key": "x", "frames": 1.5}]}, r"rows\[0\].frames"),
        ({"rows": [{"key": [], "frames": 1}]}, r"rows\[0\].key must be text, got \[\]"),
        ({"rows": [{"key": "x"}]}, r"rows\[0\] lacks frames"),
        ({"note": 3}, "note must be text or none, got 3"),
        ({"mode": "c"}, "mode must be a or b"),
        ({"mode": ["a"]}, "mode must be a or b"),
        ({"pair": [1]}, "pair must be a list of 2 numbers"),
        ({"names": "n"}, "names must be a list of text"),
        ({"scores": [1]}, "scores must be a mapping"),
        ({"scores": {"y": 2}}, "scores.y must be a number in 0..1"),
        ({"rate": "x" * 500}, r"got 'x{79}\.\.\.$"),
        ({"where": {}}, "where must be text or a list of mappings"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Mistyped, match=said):
        typed(Index, {**GOOD, **change})


def test_people_write_numbers_as_they_like() -> None:
    assert typed(Index, {"rate": "1e-3", "rows": [{"key": 2024, "frames": 1}]}, yaml=True).rows == [Row("2024", 1)]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 65 + "]" * 65, '{"a":' * 70 + "1" + "}" * 70, "", "{", "\ud800", "1" * 5000, "\0"]
)
def test_what_is_no_json_takes_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read x: .*; give an index") as caught:
        parse_json(text, "x", "an index")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin1").write_bytes(b'{"a": "\xe9"}')
    for name in ("pipe", "missing", "latin1", ".", "n" * 300):
        with pytest.raises(InputError, match="give an index"):
            read_json(tmp_path / name, "an index")
