"""Golden numbers of the autoregressive families: every fixture found, every case, compared at its own tolerance.

A fixture is `<model>/<name>.json` with `"format": "golden-ar/1"` beside `<name>.safetensors`. Whatever lies in
$PARLANTE_PARITY is picked up; sizes come from the file. `index_ar.json` only says what must at least be there.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from discover import ROOT, described
from safetensors.torch import load_file
from torch import Tensor

from parlante.models.components.causal_decoder import SPAN

FORMAT = "golden-ar/1"
EXACT = 1e-9
"""Relative, in double precision."""
RESAMPLED = 3e-7
"""The same where speech features are resampled."""


@dataclass(frozen=True)
class Golden:
    """One fixture file: the sizes, weights and inputs of a toy model and what the authors' code made of them."""

    path: Path
    head: dict[str, Any]

    @property
    def name(self) -> str:
        """`model/fixture`."""
        return f"{self.path.parent.name}/{self.path.stem}"

    @property
    def sizes(self) -> dict[str, Any]:
        """Hyperparameters."""
        return self.head["hyperparameters"]

    @property
    def dataset(self) -> str:
        """Whose frame-rate rule the original applied: `vocaset` or `BIWI`."""
        return self.head["dataset"]

    @property
    def span(self) -> int:
        """Frames that a frame attends to: the original sees all of a clip, which it limits to `max_seq_len`."""
        return max(SPAN, self.sizes.get("max_seq_len", SPAN))

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.path.with_suffix(".safetensors"))

    def part(self, prefix: str, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Tensors under `prefix/` without it; floats in `dtype` if given."""
        found = {k[len(prefix) + 1 :]: v for k, v in self.tensors.items() if k.startswith(prefix + "/")}
        return {k: v.to(dtype) if dtype and v.is_floating_point() else v for k, v in found.items()}

    def state(
        self, dtype: torch.dtype | None = None, *, drop: tuple[str, ...] = ("audio_encoder.",)
    ) -> dict[str, Tensor]:
        """Weights, without positional tables (`buffers` of the json) and without keys that start with one of `drop`."""
        tables = set(self.head.get("buffers", ()))
        return {k: v for k, v in self.part("state", dtype).items() if k not in tables and not k.startswith(drop)}

    def tables(self) -> dict[str, Tensor]:
        """The positional tables, by name."""
        return {k: v for k, v in self.part("state").items() if k in set(self.head.get("buffers", ()))}

    def gradients(self, name: str) -> dict[str, float | None]:
        """`gradient_l2_<name>` of the json: parameter -> norm (None: no gradient path); skipped where absent."""
        norms = self.head.get(f"gradient_l2_{name}")
        if norms is None:
            pytest.skip(f"{self.name} lists no gradients of {name}")
        return norms

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class GoldenCase:
    """One call of the original."""

    golden: Golden
    name: str
    body: dict[str, Any]

    @property
    def mode(self) -> str:
        """What was called: `predict`, `forward`, `module`, ..."""
        return self.body["mode"]

    @property
    def informational(self) -> bool:
        """It shows a quirk of the original that our default does not share."""
        return self.body.get("note", "").startswith("informational")

    @property
    def resampled(self) -> bool:
        """It starts from audio, or resamples features."""
        return any(str(v).startswith(("in/audio", "in/wave", "in/interp")) for v in self.body["arguments"].values())

    @property
    def call(self) -> dict[str, Any]:
        """Plain arguments of a front-end call (`dataset`, `frame_num`)."""
        return self.body.get("call", {})

    def arguments(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Input tensors by argument name, floats in `dtype`."""
        read = {k: self.golden.tensors[v] for k, v in self.body["arguments"].items()}
        return {k: v.to(dtype) if v.is_floating_point() else v for k, v in read.items()}

    def compare(self, ours: dict[str, Tensor], dtype: torch.dtype, *, slack: float = 1.0) -> None:
        """Every output of the case must be in `ours` and agree.

        float64 against the original in double precision (relative to the largest value); float32 against the original
        in single precision within max(1e-5, 20 times its own rounding), absolute; integers exactly. `slack` multiplies.
        """
        wanted = self.body["outputs"]
        assert wanted.keys() <= ours.keys(), f"{self}: nothing computed for {sorted(wanted.keys() - ours.keys())}"
        tensors = self.golden.tensors
        for name, about in wanted.items():
            result, theirs = ours[name].detach(), tensors[about["key"]]
            if not theirs.is_floating_point():
                assert torch.equal(result.to(theirs.dtype).reshape(theirs.shape), theirs), f"{self}: {name} differs"
                continue
            if dtype == torch.float64:
                theirs = tensors[about["key64"]]
                allowed = (RESAMPLED if self.resampled else EXACT) * max(finite_max(theirs), 1e-12)
            else:
                allowed = max(1e-5, 20.0 * about["fp32_vs_fp64_max_abs"])
            assert result.dtype == dtype, f"{self}: {name} came out as {result.dtype}"
            close(result, theirs, allowed * slack, f"{self}: {name}")

    def __str__(self) -> str:
        return f"{self.golden.name}/{self.name}"


def finite_max(x: Tensor) -> float:
    """Largest finite absolute value."""
    x = x[x.isfinite()]
    return x.abs().max().item() if x.numel() else 0.0


def close(ours: Tensor, theirs: Tensor, allowed: float, what: str) -> None:
    """Same shape, same infinities, largest absolute difference at most `allowed`."""
    assert ours.shape == theirs.shape, f"{what}: shape {tuple(ours.shape)}, theirs {tuple(theirs.shape)}"
    infinite = theirs.isinf()
    assert torch.equal(ours[infinite].double(), theirs[infinite].double()), f"{what}: infinities differ"
    error = finite_max((ours.double() - theirs.double())[~infinite])
    assert ours[~infinite].isfinite().all(), f"{what}: not finite"
    assert error <= allowed, f"{what}: largest difference {error:.2e}, allowed {allowed:.2e}"


def close_gradients(ours: dict[str, Tensor | None], theirs: dict[str, float | None], tolerance: float = 1e-8) -> None:
    """Gradient norms in double precision. `ours`: parameter -> gradient; a None of theirs must be None or zero here."""
    scale = max(norm or 0.0 for norm in theirs.values())
    for name, norm in theirs.items():
        assert name in ours, f"no parameter named {name}"
        gradient = ours[name]
        value = 0.0 if gradient is None else gradient.norm().item()
        wanted = norm or 0.0
        assert abs(value - wanted) <= tolerance * max(wanted, 1e-3 * scale), f"{name}: {value!r}, theirs {wanted!r}"


def fixtures(model: str, keep: Callable[[Golden], bool] = lambda golden: True) -> list[Golden]:
    """All fixtures of a model ("*": of all), in the order of their names."""
    found = [Golden(path, head) for path, head in described(model) if head.get("format") == FORMAT and "cases" in head]
    return [golden for golden in found if keep(golden)]


def cases(model: str, keep: Callable[[Golden], bool] = lambda golden: True) -> list[Any]:
    """pytest parameters: every case of `fixtures(model, keep)`; a single skipped one where there is nothing."""

    def each() -> Iterator[GoldenCase]:
        for golden in fixtures(model, keep):
            for name, body in golden.head["cases"].items():
                yield GoldenCase(golden, name, body)

    return _parameters(list(each()), model)


def models(model: str, keep: Callable[[Golden], bool] = lambda golden: True) -> list[Any]:
    """pytest parameters: every fixture."""
    return _parameters(fixtures(model, keep), model)


def _parameters(found: list[Any], model: str) -> list[Any]:
    if not found:
        reason = f"no {FORMAT} fixtures of {model} under {ROOT}; set PARLANTE_PARITY"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="absent")]
    return [pytest.param(one, id=str(one)) for one in found]


def listed(model: str) -> set[tuple[str, str]]:
    """(fixture, case) pairs of a model that `index_ar.json` lists; empty where there is no index."""
    path = ROOT / "index_ar.json"
    if not path.is_file():
        return set()
    index = json.loads(path.read_text())["fixtures"]
    return {(entry["fixture"], case) for entry in index if entry["model"] == model for case in entry["cases"]}
