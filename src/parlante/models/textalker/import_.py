"""TexTalker's three released files as one checkpoint: the diffusion model and both autoencoders.

`textalker.pth` is used under `params`, the autoencoders (`motion_vae.pth`, `tex_vae.pth`) under `params_ema`, as the
authors' script does. Sizes are read off the tensors. Not in any file: attention heads (4), the frame rate (30) and the
statistics that motion maps are normalised by (a json of the authors' repository; theirs by default).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from parlante.audio.encoders.transformers import SpeechConfig, infer_config
from parlante.core import InputError
from parlante.core.typed import read_json, typed
from parlante.geometry.uv.motion_map import REFERENCE_STATS, MotionStats
from parlante.models.checkpoint import built, differences, load_checkpoint, save_checkpoint, settings, usable
from parlante.models.importing import keys
from parlante.models.importing.containers import read_tensors
from parlante.models.importing.contract import ImportOptions
from parlante.models.importing.motion_import import to_new_names
from parlante.models.textalker.denoiser import DenoiserConfig
from parlante.models.textalker.speech_diffusion import SpeechLatentDiffusion, speech_config
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig

MODEL = "textalker-released"
"""`model` of the checkpoint folder."""
_MASK = "denoising_net.alignment_mask"
_STEPS = "denoising_net.TE.pe"


class ConvertedTexTalker(nn.Module):
    """Sound -> latent offsets (`diffusion`), latents -> maps (`motion`, `wrinkle`); all as published."""

    def __init__(
        self,
        denoiser: DenoiserConfig,
        speech: SpeechConfig,
        motion: VQGANConfig,
        wrinkle: VQGANConfig,
        stats: MotionStats = REFERENCE_STATS,
    ) -> None:
        """Raises ValueError where latents of the parts do not fit each other."""
        super().__init__()
        self.diffusion = SpeechLatentDiffusion(denoiser, speech)
        self.motion, self.wrinkle, self.stats = VQAutoEncoder(motion), VQAutoEncoder(wrinkle), stats
        for part, config, wanted in (
            ("motion", motion, denoiser.motion_dim),
            ("wrinkle", wrinkle, denoiser.wrinkle_dim),
        ):
            if config.emb_dim * config.latent_size**2 != wanted:
                raise ValueError(
                    f"the {part} autoencoder has {config.emb_dim} x {config.latent_size} x {config.latent_size} "
                    f"latents, the diffusion model makes {wanted} numbers"
                )

    @property
    def latents(self) -> list[tuple[int, int, int]]:
        """(C, h, w) of motion and of wrinkles."""
        return [(c.emb_dim, c.latent_size, c.latent_size) for c in (self.motion.config, self.wrinkle.config)]

    def describe(self) -> list[str]:
        """A few lines about it, for people."""
        sizes, maps, wrinkle = self.diffusion.config, self.motion.config, self.wrinkle.config
        count = sum(value.numel() for value in self.state_dict().values())
        return [
            f"textalker, {count / 1e6:.1f} M numbers, maps of {maps.img_size} px at 30 fps",
            f"denoiser: width {sizes.width}, {sizes.layers} layers, {sizes.steps} steps, "
            f"{sizes.frames} frames a window",
            f"codebooks: {maps.codebook_size} and {wrinkle.codebook_size} codes of {maps.emb_dim} numbers",
        ]

    def save(self, folder: Path | str, *, half: bool = False) -> Path:
        """Write a checkpoint folder."""
        config = {
            "denoiser": asdict(self.diffusion.config),
            "speech": self.diffusion.audio_encoder.config.to_dict(),
            "motion": asdict(self.motion.config),
            "wrinkle": asdict(self.wrinkle.config),
            "stats": self.stats.to_dict(),
        }
        return save_checkpoint(folder, MODEL, config, self.state_dict(), half=half)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "ConvertedTexTalker":
        """Read a checkpoint folder, in evaluation mode. Raises InputError if it is none or parts do not fit."""
        config, tensors = load_checkpoint(folder, MODEL)
        with usable(folder):
            parts = (
                settings(DenoiserConfig, config["denoiser"], "denoiser"),
                SpeechConfig.from_dict(config["speech"]),
                settings(VQGANConfig, config["motion"], "motion"),
                settings(VQGANConfig, config["wrinkle"], "wrinkle"),
                MotionStats.from_dict(config["stats"]),
            )
        return built(lambda: cls(*parts), tensors, folder).eval().requires_grad_(False)

    def filled(self, tensors: Mapping[str, Tensor], source: str) -> "ConvertedTexTalker":
        """With these weights, in evaluation mode. Raises InputError listing missing and unexpected names."""
        if problems := differences(tensors, self.state_dict()):
            raise InputError(f"{source} is no TexTalker as published: {'; '.join(problems)}")
        self.load_state_dict(dict(tensors), strict=True)
        return self.eval().requires_grad_(False)


def import_textalker(
    files: Sequence[Path | str], *, stats: MotionStats = REFERENCE_STATS, settings: Mapping[str, Any] | None = None
) -> ConvertedTexTalker:
    """The model in published files: diffusion model, motion autoencoder, texture autoencoder.

    The diffusion model is known by its tensors; the autoencoders look alike and are known by `motion` and `tex` in
    their names, else by their order. settings: `heads`, `speech.heads`, `norm_groups`. Raises InputError for what
    cannot be used.
    """
    source = " + ".join(str(path) for path in files)
    if len(files) != 3:
        raise InputError(f"a textalker is three files (textalker.pth motion_vae.pth tex_vae.pth), got {len(files)}")
    settings = dict(settings or {})
    top: dict[str, Tensor] | None = None
    coders: list[tuple[Path, dict[str, Tensor]]] = []
    for path in map(Path, files):
        tensors = read_tensors(path, entry="params", without=(_MASK,))
        if "start_audio_feat" in tensors or any(name.startswith("denoising_net.") for name in tensors):
            top = to_new_names(tensors, str(path))
        else:
            coders.append((path, read_tensors(path, entry="params_ema")))
    if top is None or len(coders) != 2:
        raise InputError(f"{source}: wanted one diffusion model (denoising_net.*) and two autoencoders")
    if "tex" in coders[0][0].stem and "motion" in coders[1][0].stem:
        coders.reverse()
    groups = settings.pop("norm_groups", 32)
    try:
        speech, _ = keys.split(top, keys.SPEECH)
        network = infer_config(speech, settings.pop("speech.heads", None))
        denoiser = infer_denoiser(top, settings.pop("heads", 4))
        if settings:
            raise ValueError(f"no setting {', '.join(settings)}; there are heads, speech.heads and norm_groups")
        motion = infer_vqgan(coders[0][1], groups, denoiser.motion_dim)
        wrinkle = infer_vqgan(coders[1][1], groups, denoiser.wrinkle_dim)
        model = ConvertedTexTalker(denoiser, speech_config(network), motion, wrinkle, stats)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{source} is no TexTalker as published: {error}") from error
    own = model.state_dict()
    table, theirs = own[f"diffusion.{_STEPS}"], top.get(_STEPS)
    if theirs is not None and (theirs.shape != table.shape or not theirs.to(table).allclose(table, atol=2e-3)):
        raise InputError(f"{source} is no TexTalker as published: {_STEPS} is no table of sines; copy the file again")
    mask = {f"diffusion.{_MASK}": own[f"diffusion.{_MASK}"]} if f"diffusion.{_MASK}" in own else {}
    parts = {"diffusion": top, "motion": coders[0][1], "wrinkle": coders[1][1]}
    named = {f"{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}
    return model.filled(named | mask, source)


def infer_denoiser(t: Mapping[str, Tensor], heads: int = 4) -> DenoiserConfig:
    """Sizes from names and shapes. Raises KeyError naming a tensor that is missing."""
    width, previous = t["denoising_net.feature_proj.weight"].shape[0], t["start_audio_feat"].shape[1]
    layer = re.compile(r"denoising_net\.transformer\.layers\.(\d{1,3})\.norm1\.weight")
    return DenoiserConfig(
        motion_dim=t["start_motion_feat"].shape[-1],
        wrinkle_dim=t["start_tex_feat"].shape[-1],
        width=width,
        heads=heads,
        layers=1 + max(int(hit[1]) for name in t if (hit := layer.fullmatch(name))),
        mlp_ratio=t["denoising_net.transformer.layers.0.linear1.weight"].shape[0] // width,
        frames=t["denoising_net.PE"].shape[1] - 1 - previous,
        previous=previous,
        steps=len(t["diffusion_sched.betas"]) - 1,
    )


def infer_vqgan(t: Mapping[str, Tensor], norm_groups: int, latent_dim: int) -> VQGANConfig:
    """Sizes from the order of the encoder's blocks; `latent_dim` numbers of a latent tell the size of the maps.

    Raises KeyError naming a tensor that is missing, ValueError for another architecture.
    """
    number = re.compile(r"encoder\.blocks\.(\d{1,4})\.")
    count = 1 + max(int(hit[1]) for name in t if (hit := number.match(name)))
    nf = t["encoder.blocks.0.weight"].shape[0]
    levels: list[list[str]] = [[]]  # kinds of blocks
    widths: list[int] = [nf]
    for i in range(1, count - 2):  # the last two are norm and convolution
        stem = f"encoder.blocks.{i}."
        if f"{stem}conv1.weight" in t:
            levels[-1].append("res")
            widths[-1] = t[f"{stem}conv1.weight"].shape[0]
        elif f"{stem}q.weight" in t:
            levels[-1].append("attention")
        elif f"{stem}conv.weight" in t:
            levels.append([])
            widths.append(0)
        else:
            raise ValueError(f"{stem}* is no residual block, attention or convolution")
    emb_dim = t["quantize.embedding.weight"].shape[1]
    side = round((latent_dim / emb_dim) ** 0.5)
    size = side * 2 ** (len(levels) - 1)
    levels[-1] = levels[-1][:-3]  # the middle: block, attention, block
    return VQGANConfig(
        img_size=size,
        channels=t["encoder.blocks.0.weight"].shape[1],
        nf=nf,
        ch_mult=tuple(width // nf for width in widths),
        res_blocks=levels[-1].count("res"),
        attn_resolutions=tuple(size >> i for i, kinds in enumerate(levels) if "attention" in kinds),
        codebook_size=t["quantize.embedding.weight"].shape[0],
        emb_dim=emb_dim,
        norm_groups=norm_groups,
    )


def read_stats(path: Path | str) -> MotionStats:
    """A json of gmin_0..2, gmax_0..2, scale, as the authors' repository has it. Raises InputError for anything else."""
    wanted = "a json of gmin_0..2, gmax_0..2 and scale"
    try:
        return MotionStats.from_reference(typed(dict[str, float], read_json(path, wanted)))
    except (ValueError, KeyError, ArithmeticError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} holds no motion statistics ({error}); wanted {wanted}") from error


def _import(files: Sequence[Path | str], options: ImportOptions) -> ConvertedTexTalker:
    """The `Importer` of this family."""
    options.allow("textalker", "stats", "settings")
    own = {} if options.stats is None else {"stats": read_stats(options.stats)}
    return import_textalker(files, settings=options.settings, **own)


IMPORTER = _import
