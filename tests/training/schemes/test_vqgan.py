"""Autoencoder training end to end on a tiny corpus."""

import pytest
import torch
from tiny import arguments

from parlante.cli import train
from parlante.core import InputError
from parlante.models.textalker.vqgan import VQAutoEncoder

SMALL = (
    "data.batch=2",
    "model.nf=8",
    "model.img_size=64",
    "model.patch=4",
    "model.ch_mult=[1]",
    "model.codebook_size=32",
    "loop.accelerator=cpu",
    "loop.save_every=2",
    "loop.log_every=1",
    "loop.threads=1",
    "data.start_maps=4",
)


@pytest.mark.parametrize("kind", ["motion", "wrinkle"])
def test_trains_and_exports(kind, tiny_corpus, tmp_path):
    changes = (f"data.corpus={tiny_corpus}", "loop.max_steps=4", "loss.adversarial_from=2", *SMALL)
    assert train.run(arguments(f"{kind}_vqgan", tmp_path / "runs", *changes)) == 0
    run = tmp_path / "runs" / f"{kind}_vqgan-001"
    model = VQAutoEncoder.from_pretrained(run / "export")
    image = torch.rand(1, 3, 64, 64)
    assert model.decode(model.encode(image), quantise=False).shape == image.shape
    assert (run / "recipe.yaml").is_file() and (run / "log-0" / "metrics.csv").is_file()


def test_resumed_run_ends_in_the_same_bits(tiny_corpus, tmp_path):
    """Four steps equal two steps, an interruption and two more."""
    from parlante.training.schemes import vqgan

    changes = (f"data.corpus={tiny_corpus}", "loop.max_steps=4", "loss.adversarial_from=2", *SMALL)
    train.run(arguments("motion_vqgan", tmp_path / "whole", *changes))
    stop = vqgan.VQGANScheme.after_step

    def interrupt(self, step, batch):
        if step == 2:
            raise RuntimeError("power cut")
        return stop(self, step, batch)

    vqgan.VQGANScheme.after_step = interrupt
    try:
        with pytest.raises(RuntimeError, match="power cut"):
            train.run(arguments("motion_vqgan", tmp_path / "cut", *changes))
    finally:
        vqgan.VQGANScheme.after_step = stop
    run = tmp_path / "cut" / "motion_vqgan-001"
    train.run(arguments(None, tmp_path / "cut", resume=run))
    whole, cut = (
        VQAutoEncoder.from_pretrained(path / "motion_vqgan-001" / "export").state_dict()
        for path in (tmp_path / "whole", tmp_path / "cut")
    )
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["loop.stepz=4"], "no stepz; did you mean .* it may have .*max_steps"),
        (["model.nf=7"], "norm_groups"),
        (["nonsense"], "key=value"),
        ([], "data.corpus"),
    ],
)
def test_bad_recipes_are_refused(changes, message, tmp_path):
    corpus = [] if message == "data.corpus" else ["data.corpus=nowhere"]
    with pytest.raises(InputError, match=message):
        train.run(arguments("motion_vqgan", tmp_path, *corpus, *changes))
