"""CodeTalker's second training: speech to the codes of the first one, which stays frozen.

The distance to the codes of the true motion is added to the errors of `MotionScheme`; the past is partly the model's
own, as in the other small models.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.core import InputError
from parlante.core.ranges import Amount
from parlante.models.codetalker.autoencoder import MotionAutoencoder
from parlante.models.codetalker.model import CodeTalker, talker_loss
from parlante.models.registry import FamilySpec, build
from parlante.training.engine.corpora import ANY
from parlante.training.engine.loop import fit
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.schema import Section
from parlante.training.engine.stage import Recipe, Stage
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import MotionStore
from parlante.training.schemes.autoregressive import motion_sections, open_motion, sizes
from parlante.training.schemes.joint_speech import JointSpeechModel, speech_to_train
from parlante.training.schemes.motion_scheme import MotionScheme, MotionSchemeConfig, Stretches


@dataclass(frozen=True, kw_only=True)
class CodeTalkerDataConfig(MotionDataConfig):
    """The `data:` part of a stage-2 recipe."""

    autoencoder: str
    """Folder that stage 1 exported."""


@dataclass(frozen=True, kw_only=True)
class CodeTermConfig:
    """The `loss:` part of a recipe: CodeTalker's own term, beside those of `scheme`."""

    codes: Amount = 1.0
    """Weight of the squared distance to the codes of the true motion, over the variance of the codebook; 0: not
    computed."""


class CodeTalkerScheme(MotionScheme):
    """Stage 2: the published losses, each relative to the variance of what it judges, and those of the lips."""

    network: CodeTalker | JointSpeechModel
    spread: Tensor

    def __init__(
        self,
        name: str,
        model: CodeTalker,
        store: MotionStore,
        loop: LoopConfig,
        own: MotionSchemeConfig,
        speech: SpeechEncoder | None = None,
        loss: CodeTermConfig | None = None,
    ) -> None:
        super().__init__(name, model, store, loop, own, speech)
        self.loss = loss or CodeTermConfig()
        self.register_buffer("spread", model.autoencoder.quantize.embedding.weight.var().clone(), persistent=False)

    def losses(self, batch: Stretches) -> dict[str, Tensor]:
        """Teacher forcing on a past that is partly the model's own."""
        model, batch = self.family, self.encoded(batch)
        past = batch.motion
        code = self.codes(batch.subjects, batch.features)
        share = self.share()
        if share > 0:
            with torch.no_grad():
                guess = model(batch.features, past, code, batch.lengths)
            past = torch.where(torch.rand(*past.shape[:2], 1, device=past.device) < share, guess, past)
        taught = model.teach(batch.features, batch.motion, code, batch.lengths, past=self.blurred(past))
        values = self.judge(taught.motion, batch.motion, batch.lengths)
        if not self.loss.codes:
            return values
        coded = talker_loss(taught, batch.motion, batch.lengths)[1] / self.spread
        return values | {"codes": coded, "loss": values["loss"] + self.loss.codes * coded}


def stage(spec: FamilySpec) -> Stage:
    """CodeTalker's stage 2."""

    def train(recipe: Recipe, run_dir: Path) -> CodeTalkerScheme:
        folder = recipe["data"].autoencoder
        first = MotionAutoencoder.from_pretrained(folder)
        store, own = open_motion(recipe)
        speech = speech_to_train(store, recipe["model"].get("steps_per_frame", 1))
        torch.manual_seed(recipe["loop"].seed)
        if first.config.motion_dim != len(store.basis):
            raise InputError(f"{folder} codes {first.config.motion_dim} coordinates, the basis has {len(store.basis)}")
        found = sizes(spec, store, own, speech) | {"autoencoder": asdict(first.config)}
        model = build(spec.name, found | recipe["model"])
        assert isinstance(model, CodeTalker)
        model.autoencoder.load_state_dict(first.state_dict())
        return fit(CodeTalkerScheme(spec.name, model, store, recipe["loop"], own, speech, recipe["loss"]), run_dir)

    sections = motion_sections(spec)
    model = sections["model"]
    return Stage(
        name=spec.name,
        about=f"{spec.title}, stage 2: speech to the codes of stage 1.",
        sections={
            **sections,
            "data": Section(CodeTalkerDataConfig),
            "model": replace(model, without=(*model.without, "autoencoder")),
            "loss": Section(CodeTermConfig),
        },
        train=train,
        corpora=ANY,
    )
