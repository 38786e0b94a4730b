"""Small models of every autoregressive family, random everywhere, and how the shared tests call them.

A family adds a `Tiny` (usually a subclass that says what is special about it) to `FAMILIES`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from parlante.models.codetalker.model import CodeTalker, CodeTalkerConfig
from parlante.models.faceformer.model import FaceFormer, FaceFormerConfig
from parlante.models.ptalker.model import PTalker, PTalkerConfig
from parlante.models.talkingstyle.model import TalkingStyle, TalkingStyleConfig

SIZES: dict[str, Any] = {
    "motion_dim": 12,
    "audio_dim": 10,
    "width": 16,
    "period": 5,
    "subjects": 3,
    "layers": 2,
    "steps_per_frame": 2,
}


class Tiny:
    """One family: how to build it, what it takes, and which weights of the original are known to do nothing."""

    dead: frozenset[str] = frozenset()
    """Parameters that no gradient reaches, by the authors' design or mistake."""

    def __init__(self, build: Callable[..., nn.Module], dead: frozenset[str] = frozenset()) -> None:
        self.build, self.dead = build, dead

    def model(self, **sizes: Any) -> Any:
        """In double precision, evaluation mode, and random where training would start from zero; `sizes` to differ."""
        torch.manual_seed(0)
        model = self.build(**sizes).double().eval()
        for parameter in model.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.3)
        return model

    def inputs(self, model: Any, batch: int = 1, frames: int = 7) -> dict[str, Tensor]:
        """Floats in double precision: features (B, S, A), motion (B, T, M), weights (B, N), and what else it needs."""
        draw = torch.Generator().manual_seed(1)
        c = model.config

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        return {
            "features": normal(batch, frames * c.steps_per_frame, c.audio_dim),
            "motion": normal(batch, frames, c.motion_dim),
            "weights": normal(batch, c.subjects).softmax(-1),
        }

    def train(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Teacher forcing: (B, T, M)."""
        return model(inputs["features"], inputs["motion"], model.style_embedding(inputs["weights"]))

    def generate(self, model: Any, inputs: dict[str, Tensor], lengths: Tensor | None = None) -> Tensor:
        """(B, T, M)."""
        return model.generate(inputs["features"], model.style_embedding(inputs["weights"]), lengths=lengths)

    def causal(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """What teacher forcing predicts of each frame before frames are mixed, (B, T, .)."""
        return self.train(model, inputs)

    def live(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The frames that are fed back, (B, T, M): what a session shows."""
        return self.generate(model, inputs)

    def decide(self, model: Any, predicted: Tensor) -> Tensor:
        """What the loop makes of `causal` predictions; `decided` has the loop's own."""
        return predicted

    def decided(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """What the loop decided while it generated."""
        return self.generate(model, inputs)

    def session(self, model: Any, inputs: dict[str, Tensor]) -> Any:
        """A streaming session."""
        return model.session(model.style_embedding(inputs["weights"]))

    def cut(self, model: Any, inputs: dict[str, Tensor], item: int, frames: int) -> dict[str, Tensor]:
        """One item of a batch, at its own length."""
        steps = {"features": frames * model.config.steps_per_frame, "motion": frames}
        one = {k: v[item : item + 1] for k, v in inputs.items()}
        return {k: v[:, : steps[k]] if k in steps else v for k, v in one.items()}


class TinyPTalker(Tiny):
    """Style also from the voice and from a reference clip, each of a length of its own."""

    only_losses = ("content_motion.", "AudioStyle.fc3.", "cons.", "style_classifier.", "auxiliary_style_classifier.")
    """What only the training terms look at; tests/models/test_ptalker.py checks that they do."""

    def __init__(self) -> None:
        more = {"emotion_dim": 6, "motion_layers": 2, "motion_convolutions": 2}
        super().__init__(lambda **sizes: PTalker(PTalkerConfig(**SIZES, **more, **sizes)))
        names = [name for name, _ in self.build().named_parameters()]
        gate = ("onehot_style_encoder.attention.Wq.", "onehot_style_encoder.attention.Wk.")
        self.dead = frozenset(name for name in names if name.startswith((*gate, *self.only_losses)))

    def inputs(self, model: Any, batch: int = 1, frames: int = 7) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(2)
        emotion = torch.randn(batch, 3 * frames, model.config.emotion_dim, generator=draw, dtype=torch.float64)
        reference = torch.randn(batch, 2 * frames, model.config.motion_dim, generator=draw, dtype=torch.float64)
        return super().inputs(model, batch, frames) | {"emotion": emotion, "reference": reference}

    def code(self, model: Any, inputs: dict[str, Tensor], lengths: Tensor | None = None) -> Tensor:
        return model.style_embedding(
            inputs["weights"],
            emotion=inputs["emotion"],
            emotion_lengths=None if lengths is None else 3 * lengths,
            reference_motion=inputs["reference"],
            reference_lengths=None if lengths is None else 2 * lengths,
        )

    def train(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        return model(inputs["features"], inputs["motion"], self.code(model, inputs))

    def generate(self, model: Any, inputs: dict[str, Tensor], lengths: Tensor | None = None) -> Tensor:
        return model.generate(inputs["features"], self.code(model, inputs, lengths), lengths=lengths)

    def session(self, model: Any, inputs: dict[str, Tensor]) -> Any:
        return model.session(self.code(model, inputs))

    def cut(self, model: Any, inputs: dict[str, Tensor], item: int, frames: int) -> dict[str, Tensor]:
        one = super().cut(model, inputs, item, frames)
        one["emotion"], one["reference"] = one["emotion"][:, : 3 * frames], one["reference"][:, : 2 * frames]
        return one


class TinyCodeTalker(Tiny):
    """Both stages. The result decodes the codes of the whole clip at once, so that no frame of it is causal: the laws
    of single frames hold for the codes and for the frames that are fed back."""

    def __init__(self) -> None:
        stage_one = {"width": 16, "layers": 2, "heads": 2, "hidden": 20, "groups": 4, "code_dim": 4, "codes": 32}
        more = {"autoencoder": {"motion_dim": SIZES["motion_dim"], **stage_one}}
        super().__init__(lambda **sizes: CodeTalker(CodeTalkerConfig(**SIZES, **more, **sizes)))

    def model(self, **sizes: Any) -> Any:
        model = super().model(**sizes)
        nn.init.normal_(model.autoencoder.quantize.embedding.weight)
        return model

    def causal(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        return model.latent(inputs["features"], inputs["motion"], model.style_embedding(inputs["weights"]))

    def live(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        return model.generate(inputs["features"], model.style_embedding(inputs["weights"]), live=True)

    def decide(self, model: Any, predicted: Tensor) -> Tensor:
        return model.autoencoder.quantize.nearest_codes(predicted)

    def decided(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        return model.roll(inputs["features"], model.style_embedding(inputs["weights"])).codes


FAMILIES: dict[str, Tiny] = {
    "codetalker": TinyCodeTalker(),
    "faceformer": Tiny(lambda **sizes: FaceFormer(FaceFormerConfig(**SIZES, **sizes))),
    "talkingstyle": Tiny(
        lambda **sizes: TalkingStyle(TalkingStyleConfig(**SIZES, **sizes)),
        dead=frozenset(f"style_encoder.attention.{k}.{part}" for k in ("Wq", "Wk") for part in ("weight", "bias")),
    ),
    "ptalker": TinyPTalker(),
}
