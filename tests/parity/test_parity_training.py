"""One training step of the published recipes is the authors': losses, and gradient norms where the fixtures list them.

The recipe's own weights and switches are used; features stand for the speech networks, which other tests hold.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from golden import Golden, GoldenCase, close, close_gradients, models
from test_parity_codetalker import build_autoencoder, build_talker, stage_one, stage_two
from test_parity_facediffuser import FIXTURES, build, heard, inputs
from test_parity_feedback import build as build_feedback
from test_parity_ptalker import build as build_ptalker
from torch import Tensor, nn

from parlante.training import find_stage
from parlante.training.schemes.vertex_codetalker import AutoencoderVertexScheme, CodeTalkerVertexScheme
from parlante.training.schemes.vertex_facediffuser import FaceDiffuserVertexScheme
from parlante.training.schemes.vertex_ptalker import PTalkerVertexScheme
from parlante.training.schemes.vertex_space import EncodedClips, FeedbackScheme, VertexScheme

RECIPES = Path(__file__).parents[2] / "recipes"
DOUBLE = torch.float64


class Voice(SimpleNamespace):
    """Features of the voice in place of a second speech network."""

    def __call__(self, audio: Tensor, lengths: list[int]) -> Any:
        return SimpleNamespace(float=lambda: self.features)

    def steps(self, samples: int) -> int:
        return int(self.features.shape[1])


def scheme(kind: type[VertexScheme], recipe: str, family: Any, mouth: list[int], **beside: Any) -> Any:
    """A scheme with the recipe's loss and past, around a fixture's network."""
    config = yaml.safe_load((RECIPES / recipe).read_text())
    stage = find_stage(config["stage"])
    blanks = {name: "x" for name in ("corpus", "encoder", "voice_encoder", "autoencoder")}
    data = {name: value for name, value in blanks.items() if name in stage.sections["data"].types()}
    settings = stage.read(config | {"data": data | config.get("data", {})})
    made = kind.__new__(kind)
    nn.Module.__init__(made)
    made.own, made.loss = settings["scheme"], settings["loss"]
    made.network = family if not beside else SimpleNamespace(family=family, **beside)
    if beside:
        kind = type(kind.__name__, (kind,), {"family": property(lambda self: self.network.family)})
        made.__class__ = kind
    made.mouth_numbers = lambda: torch.tensor(mouth)
    return made


def clips(given: dict[str, Tensor], frames: int) -> EncodedClips:
    """A fixture's clip, cut to the frames that its speech lasts."""
    template = given["template"]
    motion = (given["vertice"] - template[:, None])[:, :frames]
    features = given.get("hidden_states", template.new_zeros(1, 0, 1))
    one_hot = given.get("one_hot", template.new_zeros(1, 1))
    return EncodedClips(motion, features, one_hot, None, template, template[:, :1], torch.ones(1, dtype=torch.long))


def step(made: Any, given: dict[str, Tensor], per_frame: int = 1) -> dict[str, Tensor]:
    """The terms of a training step; gradients are left on the network."""
    steps = given["hidden_states"].shape[1] // per_frame if "hidden_states" in given else given["vertice"].shape[1]
    frames = min(steps, given["vertice"].shape[1])
    batch = clips(given, frames)
    terms = made.terms(batch._replace(features=batch.features[:, : frames * per_frame]), train=True)
    terms["loss"].backward()
    return terms


def same(golden: Golden, case: str, ours: Tensor, name: str) -> None:
    theirs = golden.tensors[golden.head["cases"][case]["outputs"][name]["key64"]]
    close(ours.detach().reshape(theirs.shape), theirs, 1e-9 * float(theirs.abs().max()), f"{golden}: {name}")


def recipe_of(golden: Golden, suffix: str = "") -> str:
    return f"{golden.path.parent.name}/{golden.dataset.lower()}{suffix}.yaml"


@pytest.mark.parametrize(
    "golden",
    [
        one
        for name in ("faceformer", "talkingstyle")
        for one in models(name, lambda g: "gradient_l2_forward_ar" in g.head)
    ],
)
def test_faceformer_and_talkingstyle(golden: Golden) -> None:
    model = build_feedback(golden, DOUBLE)
    made = scheme(FeedbackScheme, recipe_of(golden), model, golden.sizes.get("mouth_map", []))
    case = GoldenCase(golden, "forward_ar", golden.head["cases"]["forward_ar"])
    terms = step(made, case.arguments(DOUBLE), model.config.steps_per_frame)
    same(golden, "forward_ar", terms["loss"], "loss")
    close_gradients({k: v.grad for k, v in model.named_parameters()}, golden.gradients("forward_ar"))


@pytest.mark.parametrize("golden", models("ptalker", lambda g: "gradient_l2_train_total_tf" in g.head))
def test_ptalker(golden: Golden) -> None:
    model = build_ptalker(golden, DOUBLE)
    case = GoldenCase(golden, "forward_tf", golden.head["cases"]["forward_tf"])
    given = case.arguments(DOUBLE)
    voice = Voice(features=given["emotion_hidden"])
    made = scheme(PTalkerVertexScheme, recipe_of(golden), model, golden.sizes["mouth_map"], voice=voice)
    terms = step(made, given, model.config.steps_per_frame)
    same(golden, "forward_tf", terms["reconstruction"], "rec_loss")
    same(golden, "forward_tf", terms["constraint"], "constraint_loss")
    assert "auxiliary" not in terms, "a term of weight 0 is not computed"
    close_gradients({k: v.grad for k, v in model.named_parameters()}, golden.gradients("train_total_tf"))


@pytest.mark.parametrize("golden", models("codetalker", lambda g: stage_one(g) or stage_two(g)))
def test_codetalker(golden: Golden) -> None:
    first = stage_one(golden)
    name = "forward" if first else "forward_tf"
    kind: Callable[..., Any] = AutoencoderVertexScheme if first else CodeTalkerVertexScheme
    model: Any = build_autoencoder(golden, DOUBLE) if first else build_talker(golden, DOUBLE)
    made = scheme(kind, recipe_of(golden, "_stage1" if first else "_stage2"), model, [])  # type: ignore[arg-type]
    case = GoldenCase(golden, name, golden.head["cases"][name])
    terms = step(made, case.arguments(DOUBLE), 1 if first else model.config.steps_per_frame)
    same(golden, name, terms["loss"], "loss")


@pytest.mark.parametrize("place", FIXTURES)
def test_facediffuser(place: str, parity: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case = parity(place)
    model, given = build(case, DOUBLE), inputs(case, DOUBLE)
    recipe = f"facediffuser/{place.rpartition('/')[2].lower()}.yaml"
    if not (RECIPES / recipe).is_file():
        pytest.skip(f"no recipe {recipe}")
    made = scheme(FaceDiffuserVertexScheme, recipe, model, [])
    plain = model.forward
    drawn = {"step": given["time"], "noise": given["train_noise"]}
    monkeypatch.setattr(model, "forward", lambda *a, **k: plain(*a, **k, **drawn))
    features = heard(case, given["audio"], given["x_start"].shape[1])
    terms = step(made, given | {"vertice": given["x_start"], "hidden_states": features}, 2)
    close(terms["loss"].detach(), case.part("out")["training_loss"].to(DOUBLE), 5e-6, place)
