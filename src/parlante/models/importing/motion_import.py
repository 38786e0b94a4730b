"""Released files of a family on motion coordinates as a `MeshNetwork`.

    >>> network = import_checkpoint("faceformer", ["vocaset.pth"])  # doctest: +SKIP
    >>> network.save("vocaset")  # doctest: +SKIP

What a file does not tell, the published sets tell by the size of their mesh (frame rate, how speech steps belong to
frames, the training subjects in the order of the style weights); for any other mesh the user says it. What is special
about a family stands in its `import_.py`, as a `MotionImporter`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parlante.audio.encoders.transformers import SpeechConfig, infer_config
from parlante.audio.encoders.weight_norm import to_new
from parlante.audio.rates import RateRule
from parlante.core import InputError
from parlante.core.plugins import resolve
from parlante.models.checkpoint import differences
from parlante.models.components.causal_decoder import SPAN
from parlante.models.importing import keys
from parlante.models.importing.containers import read_tensors
from parlante.models.importing.contract import ImportOptions
from parlante.models.importing.keys import Sizes, Tensors
from parlante.models.importing.templates import read_templates
from parlante.models.mesh_network import FASTEST, MeshNetwork, MeshNetworkConfig
from parlante.models.registry import families
from parlante.models.registry import family as find_family
from parlante.models.templates import Templates

RATES = {
    "aligned": "speech resampled to the frame rate, end points aligned, one step a frame",
    "pairs": "speech left at 50 steps a second, two steps for each frame of 1/25 s",
}
"""How speech meets frames in the published models."""
EMOTION_RATE = RateRule(kind="aligned", fps=60.0)
"""A second encoder, whatever the set."""


@dataclass(frozen=True)
class PublishedSet:
    """What a published training set tells that a checkpoint does not."""

    motion_dim: int
    rate: str
    fps: float
    subjects: tuple[str, ...]
    topology: str


_VOCASET = (
    "FaceTalk_170728_03272_TA",
    "FaceTalk_170904_00128_TA",
    "FaceTalk_170725_00137_TA",
    "FaceTalk_170915_00223_TA",
    "FaceTalk_170811_03274_TA",
    "FaceTalk_170913_03279_TA",
    "FaceTalk_170904_03276_TA",
    "FaceTalk_170912_03278_TA",
)
VOCASET = "vocaset"
"""Stands for the names of VOCASET's training speakers."""
SETS = (
    PublishedSet(15069, "aligned", 30.0, _VOCASET, "flame"),
    PublishedSet(70110, "pairs", 25.0, ("F2", "F3", "F4", "M3", "M4", "M5"), "biwi"),
)


def usual_rate(
    rate: str | None, fps: float | None, source: str, known: PublishedSet | None = None, size: int = 0
) -> tuple[RateRule, float]:
    """The rule and the frame rate. Raises InputError if neither the user nor the mesh tells."""
    rate = rate or (known.rate if known else None)
    fps = fps or (known.fps if known else 25.0 if rate == "pairs" else None)
    if rate is None or fps is None:
        raise InputError(
            f"{source} moves {size // 3} vertices and is neither VOCASET's (5023, period 30) nor BIWI's (23370, period "
            f"25), so its rate is not known: give --rate {' or '.join(RATES)} and --fps ("
            + "; ".join(f"{name}: {what}" for name, what in RATES.items())
            + ")"
        )
    if rate not in RATES:
        raise InputError(f"no rate rule {rate!r}; known: {', '.join(RATES)}")
    if rate == "pairs":
        if fps != 25.0:
            raise InputError(f"two speech steps a frame are 25 frames per second, got --fps {fps:g}")
        return RateRule(kind="pairs", steps_per_frame=2), fps
    return RateRule(kind="aligned", fps=fps), fps


@dataclass(frozen=True, kw_only=True)
class MotionImporter:
    """An `Importer` of one family on motion coordinates: what its released files are like."""

    family: str
    infer: Callable[[Tensors], Sizes]
    """Tensors -> fields of the family's config."""
    signatures: Mapping[str, str]
    """Kind of file -> a name, or the beginning of one, that only this kind has."""
    read: Callable[[Sequence[Path | str], str], tuple[dict[str, Tensor], Sizes]] | None = None
    """(files, their names for people) -> tensors, and sizes that the tensors do not tell; none: a single file."""
    second_encoder: bool = False
    """Whether files hold an encoder of the voice's style."""
    sets: tuple[PublishedSet, ...] = SETS
    """Training sets that the size of the mesh tells."""
    shared_meshes: Mapping[int, str] = field(default_factory=dict)
    """Numbers of a frame -> another set of the same mesh, of which files are published too; the user says which."""
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict
    """The family's own tensors under our names."""
    rate: Callable[[str | None, float | None, str], tuple[RateRule, float]] | None = None
    """(--rate, --fps, source) -> rule and frame rate; none: `usual_rate`."""
    periodic: bool = True
    """Whether files hold a positional table that tells the period."""
    rate_after_encoder: bool = False
    """Whether the rate changes after the speech encoder, rather than within it."""

    def __call__(self, files: Sequence[Path | str], options: ImportOptions) -> MeshNetwork:
        """The model in released files, with the faces of `options.topology`. Raises InputError."""
        options.allow(self.family, "rate", "fps", "subjects", "topology", "controls", "settings")
        faces = read_templates(options.topology)
        network = self.network(files, options, templates=faces)
        faces.check_fit(network.num_vertices)
        return network

    def network(
        self, files: Sequence[Path | str], options: ImportOptions, templates: Templates | None = None
    ) -> MeshNetwork:
        """The model in released files. Raises InputError listing what is missing, unexpected or of another shape."""
        source = " + ".join(str(path) for path in files)
        if options.fps is not None and not 0 < options.fps <= FASTEST:
            raise InputError(f"--fps must be positive and at most {FASTEST}, got {options.fps:g}")
        tensors, known_sizes = self._read(files, source)
        longest = len(tensors["PPE.pe"].flatten(0, -2)) if "PPE.pe" in tensors else 0
        period, tensors = keys.take_tables(tensors, source) if self.periodic else (None, tensors)
        speech, rest = keys.split(to_new_names(tensors, source), keys.SPEECH)
        emotion, rest = keys.split(rest, keys.EMOTION)
        parts = _Parts(tensors, speech, emotion, self.rename(rest))
        sizes = self.infer(tensors) | known_sizes
        if self.periodic:
            self._set_period(sizes, period, longest, options.settings, parts, source)
        published = self._known_set(sizes, options.settings)
        known = self._chosen_set(published, options)
        unknown_rate: InputError | None = None
        try:
            if published and not known and not (options.rate and options.fps):
                raise self._which_set(published, sizes["subjects"], source)
            rule, fps = self._rate(options, known, sizes["motion_dim"], source)
        except InputError as error:  # said only if nothing is wrong with the file itself
            unknown_rate, fps = error, 30.0
            rule = RateRule(kind="aligned", fps=60.0, steps_per_frame=2)
            rule = rule if self.rate_after_encoder else RateRule(kind="aligned", fps=30.0)
        sizes["steps_per_frame"] = rule.steps_per_frame
        heads = _apply_settings(sizes, options.settings, self.second_encoder)
        outside = {
            "fps": fps,
            "subjects": _subjects(options.subjects, known, sizes["subjects"]),
            "topology": published.topology if published else "",
            "controls": _controls(options.controls, sizes, source),
        }
        network = self._assembled(sizes, rule, heads, outside, parts, templates, source)
        if unknown_rate is not None:
            raise unknown_rate
        return network

    def _read(self, files: Sequence[Path | str], source: str) -> tuple[dict[str, Tensor], Sizes]:
        if self.read is not None:
            return self.read(files, source)
        if len(files) != 1:
            raise InputError(f"a {self.family} is one file, got {len(files)}: {source}")
        return read_tensors(files[0]), {}

    def _set_period(
        self, sizes: Sizes, period: int | None, longest: int, settings: Mapping[str, Any], parts: "_Parts", source: str
    ) -> None:
        if period is None:
            if "period" not in settings:
                raise no_published_file(self.family, parts.all, source, ["missing (1): PPE.pe"])
            return
        if settings.get("period", period) != period:
            raise InputError(f"{source} has a period of {period}, got --set period={settings['period']}; leave it out")
        sizes["period"] = period
        if longest // period > SPAN // period + 1:  # its authors let it look further back than the published ones
            sizes["span"] = longest

    def _known_set(self, sizes: Sizes, settings: Mapping[str, Any]) -> PublishedSet | None:
        """The published set of this mesh; with a period it must be of one second."""
        fitting = [each for each in self.sets if each.motion_dim == sizes["motion_dim"]]
        if self.periodic:
            period = sizes.get("period", settings.get("period"))
            fitting = [each for each in fitting if each.fps == period]
        return fitting[0] if fitting else None

    def _chosen_set(self, published: PublishedSet | None, options: ImportOptions) -> PublishedSet | None:
        """The set that a file learnt: the published one of its mesh, unless another has the same mesh and nothing says
        that it is this one."""
        if published is None or published.motion_dim not in self.shared_meshes:
            return published
        return published if tuple(options.subjects or ()) in ((VOCASET,), published.subjects) else None

    def _which_set(self, published: PublishedSet, count: int, source: str) -> InputError:
        other = self.shared_meshes[published.motion_dim]
        return InputError(
            f"{source} has the mesh of VOCASET and of {other}, and does not tell which of them it learnt; give "
            f"--subjects {VOCASET}, or for {other} --rate {' or '.join(RATES)}, --fps and --subjects with its {count} "
            "speakers"
        )

    def _rate(
        self, options: ImportOptions, known: PublishedSet | None, size: int, source: str
    ) -> tuple[RateRule, float]:
        if self.rate is None:
            return usual_rate(options.rate, options.fps, source, known, size)
        return self.rate(options.rate, options.fps or (known.fps if known else None), source)

    def _assembled(
        self,
        sizes: Sizes,
        rule: RateRule,
        heads: Mapping[str, Any],
        outside: dict[str, Any],
        parts: "_Parts",
        templates: Templates | None,
        source: str,
    ) -> MeshNetwork:
        after = self.rate_after_encoder
        try:
            config = MeshNetworkConfig(
                model=self.family,
                family=resolve(find_family(self.family).config)(**sizes),
                speech=_spec(infer_config(parts.speech, heads["speech"]), RateRule() if after else rule),
                emotion=_spec(infer_config(parts.emotion, heads["emotion"]), EMOTION_RATE)
                if "emotion" in heads
                else None,
                rate=rule.to_dict() if after else None,
                **outside,
            )
        except (TypeError, ValueError) as error:  # InputError is a ValueError
            problems = [*_family_differences(self.family, sizes, parts.own), str(error)]
            raise no_published_file(self.family, parts.all, source, problems) from error
        try:
            return MeshNetwork.from_tensors(config, parts.merged(), source="", templates=templates)
        except InputError as error:
            raise no_published_file(self.family, parts.all, source, [str(error).strip(" :")]) from error


@dataclass(frozen=True)
class _Parts:
    """Tensors of a file: all under its names; speech encoder, second encoder and family without prefix."""

    all: Tensors
    speech: Mapping[str, Tensor]
    emotion: Mapping[str, Tensor]
    own: Mapping[str, Tensor]

    def merged(self) -> dict[str, Tensor]:
        """Under the names of our checkpoints."""
        return {
            **self.own,
            **{f"{keys.SPEECH}{name}": value for name, value in self.speech.items()},
            **{f"{keys.EMOTION}{name}": value for name, value in self.emotion.items()},
        }


def import_checkpoint(
    model: str,
    files: Sequence[Path | str],
    *,
    rate: str | None = None,
    fps: float | None = None,
    subjects: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    templates: Templates | None = None,
    controls: Sequence[str] | None = None,
) -> MeshNetwork:
    """The model in released `files` (CodeTalker: stage 1 and stage 2 in any order).

    rate (a key of RATES) and fps: needed unless mesh and period are those of VOCASET or BIWI. settings: sizes that no
    file tells, such as `heads`, `speech.heads`, `emotion.heads`, `autoencoder.heads`, `motion_heads`, `period`, and
    `steps` of FaceDiffuser's rig models. controls: names of the controls of a rig model; None numbers them. Raises
    InputError, listing what is missing, unexpected or of another shape.
    """
    importer: MotionImporter = resolve(find_family(model).importer)
    options = ImportOptions(rate=rate, fps=fps, subjects=subjects, controls=controls, settings=dict(settings or {}))
    return importer.network(files, options, templates)


def _spec(network: dict[str, Any], rule: RateRule) -> dict[str, Any]:
    return {"encoder": "network", **SpeechConfig(network=network, rate=rule).to_dict()}


def _subjects(given: Sequence[str] | None, known: PublishedSet | None, count: int) -> tuple[str, ...]:
    if (given is None or tuple(given) == (VOCASET,)) and known is not None and len(known.subjects) == count:
        return known.subjects
    return tuple(given or ())


def _controls(given: Sequence[str] | None, sizes: Sizes, source: str) -> tuple[str, ...]:
    """Names of the controls of a rig model, numbered where none are given. Raises InputError for a mesh model."""
    if not sizes.get("projected", True):  # no map from vertices: the coordinates are controls
        return tuple(given or (f"control-{number + 1}" for number in range(sizes["motion_dim"])))
    if given:
        raise InputError(f"{source} moves vertices, so its coordinates have no names; leave out --controls")
    return ()


def _apply_settings(sizes: Sizes, settings: Mapping[str, Any], second_encoder: bool) -> dict[str, Any]:
    """Write settings into the sizes; returns the attention heads of the encoders. Raises InputError."""
    left = dict(settings)
    heads = {name: left.pop(f"{name}.heads", None) for name in ("speech", *(["emotion"] * second_encoder))}
    for name, value in left.items():
        outer, _, inner = name.rpartition(".")
        place = sizes.get(outer) if outer else sizes
        if not isinstance(place, dict):
            raise InputError(f"no setting {name!r}; {outer or 'this model'} has no sizes of its own")
        if isinstance(value, bool) and inner.endswith("heads"):
            raise InputError(f"{name} is a whole number, got {value}")
        place[inner] = value
    return heads


def _family_differences(model: str, sizes: Sizes, found: Mapping[str, Tensor]) -> list[str]:
    """What else is wrong with a file whose speech encoder cannot be read."""
    try:
        with torch.device("meta"):
            family = find_family(model).make(sizes)
    except (TypeError, ValueError):
        return []
    return differences(found, family.state_dict())


def to_new_names(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Weight norms under one spelling. Raises InputError where a file holds both."""
    try:
        return to_new(tensors)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error


def kind_of(tensors: Iterable[str]) -> str | None:
    """Which released file has names such as these, if any."""
    names = tuple(tensors)
    for spec in families().values():
        importer = resolve(spec.importer) if spec.importer else None
        if isinstance(importer, MotionImporter):
            for kind, signature in importer.signatures.items():
                if any(name == signature or (signature.endswith(".") and name.startswith(signature)) for name in names):
                    return kind
    return None


def no_published_file(model: str, tensors: Iterable[str], source: str, problems: list[str]) -> InputError:
    """The error for a file that is not what its family's authors release."""
    kind = kind_of(tensors)
    hint = "" if kind is None or kind.startswith(model) else f" (it looks like {kind.split(', rig')[0]})"
    return InputError(f"{source} is no {model} checkpoint as published{hint}: {'; '.join(problems)}")
