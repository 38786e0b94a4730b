"""TexTalker's three released files and a person, small, in the authors' layout."""

from pathlib import Path

import numpy as np
import torch
from miniature import obj, sheet, skin
from PIL import Image
from toy_files import network

from parlante.audio.encoders.weight_norm import to_old
from parlante.models.textalker.denoiser import DenoiserConfig
from parlante.models.textalker.import_ import ConvertedTexTalker
from parlante.models.textalker.speech_diffusion import speech_config
from parlante.models.textalker.vqgan import VQGANConfig

MAPS = VQGANConfig(
    img_size=32, nf=32, ch_mult=(1, 2, 1), res_blocks=1, attn_resolutions=(8,), codebook_size=12, emb_dim=4
)
SIZES = DenoiserConfig(motion_dim=256, wrinkle_dim=256, width=16, heads=4, layers=1, frames=20, previous=3, steps=10)


def write_textalker(folder: Path) -> None:
    """`textalker.pth`, `motion_vae.pth`, `tex_vae.pth`, the statistics, and `test_id` with pivots."""
    torch.manual_seed(0)
    talker = ConvertedTexTalker(SIZES, speech_config(network(large=False)), MAPS, MAPS)
    for coder in (talker.motion, talker.wrinkle):
        torch.nn.init.normal_(coder.quantize.embedding.weight)
    torch.save({"params": to_old(talker.diffusion.state_dict())}, folder / "textalker.pth")
    torch.save({"params_ema": talker.motion.state_dict()}, folder / "motion_vae.pth")
    torch.save({"params_ema": talker.wrinkle.state_dict()}, folder / "tex_vae.pth")
    stats = ", ".join(f'"gmin_{axis}": -0.01, "gmax_{axis}": 0.01' for axis in range(3))
    (folder / "stat_seq_diff_global.json").write_text(f'{{{stats}, "scale": 1.0}}')
    person = folder / "test_id"
    person.mkdir()
    (person / "face.obj").write_text(obj(sheet(0)))
    Image.fromarray(np.kron(skin(0, 0), np.ones((2, 2, 1), np.uint8))).save(person / "face.png")
    for kind in ("motion", "tex"):
        torch.save(torch.zeros(1, 4, 8, 8), person / f"latent_{kind}_ave.pth")
