"""Fitting weights to a character: gain, offset and limits per weight, in a small JSON file.

    {"parlante_calibration": 1,
     "curves": {"mouth*": {"gain": 0.9}, "jawOpen": {"gain": 1.2, "offset": -0.02, "max": 0.8}}}

A weight w becomes clip(gain * w + offset, min, max). A key is a weight's name or a pattern with * and ?; where several
fit, later entries override earlier ones field by field. Missing fields are gain 1, offset 0, min 0, max 1.
"""

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, atomic_path
from parlante.core.typed import read_json

_FIELDS = {"gain": 1.0, "offset": 0.0, "min": 0.0, "max": 1.0}
_VERSION = 1
_LARGEST = 1e6


class Calibration:
    """Gain, offset and limits of named weights."""

    def __init__(self, weights: Mapping[str, Mapping[str, float]]) -> None:
        """`weights`: name or pattern: some of gain, offset, min and max. Raises InputError for anything else."""
        self.weights = {key: dict(_fields(key, values)) for key, values in weights.items()}

    @classmethod
    def read(cls, path: Path | str) -> "Calibration":
        """Raises InputError for a file that is not such a calibration."""
        path = Path(path)
        found = read_json(path, "a calibration, a JSON file")
        if not isinstance(found, dict) or found.get("parlante_calibration") != _VERSION:
            raise InputError(f'{path} is no calibration: it must begin with {{"parlante_calibration": {_VERSION}, ...')
        if not isinstance(found.get("curves"), dict):
            raise InputError(f'{path} lacks "curves": {{NAME: {{"gain": ...}}}}')
        try:
            return cls(found["curves"])
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def write(self, path: Path | str) -> None:
        """Store as JSON; `read` gives the same back."""
        with atomic_path(path) as partial:
            text = json.dumps({"parlante_calibration": _VERSION, "curves": self.weights}, indent=1)
            partial.write_text(text + "\n", encoding="utf-8")

    def table(self, names: Sequence[str]) -> NDArray[np.float32]:
        """(4, K) gain, offset, min and max per weight. Raises InputError for an entry that fits none of `names`."""
        rows = [dict(_FIELDS) for _ in names]
        for key, values in self.weights.items():
            fitting = [row for name, row in zip(names, rows) if name == key or fnmatchcase(name, key)]
            if not fitting:
                raise InputError(f"the calibration names {key!r}, which is none of the weights: {', '.join(names)}")
            for row in fitting:
                row.update(values)
        for name, row in zip(names, rows):
            if row["min"] > row["max"]:
                raise InputError(f"{name}: min {row['min']:g} is above max {row['max']:g}; swap them")
        return np.array([[row[field] for row in rows] for field in _FIELDS], np.float32)

    def apply(self, weights: NDArray[np.floating], names: Sequence[str]) -> NDArray[np.float32]:
        """(T, K) calibrated weights. Raises InputError as `table`."""
        gain, offset, low, high = self.table(names)
        return np.asarray(np.clip(weights * gain + offset, low, high), np.float32)


def _fields(key: str, values: Any) -> Mapping[str, float]:
    if not isinstance(values, Mapping):
        raise InputError(f"{key}: wanted some of {', '.join(_FIELDS)}, got {str(values)[:80]}")
    for field, value in values.items():
        if field not in _FIELDS:
            raise InputError(f"{key}: unknown field {field!r}; choose {', '.join(_FIELDS)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
            raise InputError(f"{key}: {field} must be a number, at most {_LARGEST:g}, got {str(value)[:40]}")
    return {field: float(value) for field, value in values.items()}
