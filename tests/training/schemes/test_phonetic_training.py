"""The phonetic encoder's training: labels stay on the sound, it learns, and it resumes to the same bits."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from families import PowerCut, power_cut, same
from safetensors.torch import load_file
from tiny import arguments

from parlante.audio.encoders.phonetic import GATES, WEIGHT_SCALES, PhoneticEncoder
from parlante.audio.phones import PHONES, Phone
from parlante.cli.train import run as train
from parlante.core import InputError
from parlante.synth.voice_corpus import LABEL_RATE, WEIGHT_NAMES, labels
from parlante.training.engine.logs import read_curve
from parlante.training.engine.recipe import read_recipe
from parlante.training.schemes.phonetic import Corpus, make_example

RECIPE = Path(__file__).parents[3] / "recipes" / "phonetic.yaml"


@pytest.fixture
def corpus(tmp_path):
    """Six buzzing utterances: loud in `aa`, faint in `m`, with exact times."""
    rng = np.random.default_rng(0)
    audio, numbers, curves, rows = [], [], [], []
    for index in range(6):
        edges = np.cumsum(rng.uniform(0.12, 0.3, 9))
        phones = [Phone("sil", 0.0, float(edges[0]))]
        phones += [Phone("aa" if i % 2 else "m", float(a), float(b)) for i, (a, b) in enumerate(pairwise(edges))]
        t = np.arange(int(edges[-1] * 16000)) / 16000
        loud = np.select([t < edges[0]], [0.0], np.where(np.searchsorted(edges, t, "right") % 2 == 0, 0.3, 0.05))
        sound = loud * sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 12))
        number, weights = labels(tuple(phones), len(t) / 16000)
        rows.append({"sample": sum(map(len, audio)), "samples": len(t), "label": sum(map(len, numbers))})
        rows[-1] |= {"labels": len(number), "voice": f"v{index}", "text": ""}
        audio.append(np.round(20000 * sound).astype(np.int16))
        numbers.append(number)
        curves.append(weights)
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, parts in (("audio", audio), ("phones", numbers), ("curves", curves)):
        np.save(folder / f"{name}.npy", np.concatenate(parts))
    index = {"phones": PHONES, "curves": WEIGHT_NAMES, "label_rate": LABEL_RATE, "utterances": rows}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def run(corpus, out, *changes):
    """`parlante train` of a tiny encoder, a moment long; returns the run folder."""
    tiny = ("data.seconds=1.0", "data.valid=''", "scheme.batch=2", "model.stem=4", "model.width=24")
    short = ("loop.max_steps=4", "loop.save_every=2", "loop.log_every=2", "loop.accelerator=cpu")
    options = arguments(None, out, f"data.corpus={corpus}", "model.dilations=[1, 1]", *tiny, *short, *changes)
    options.recipe = RECIPE
    assert train(options) == 0
    return next(out.iterdir())


def test_the_same_curves_in_corpus_and_encoder():
    assert (*WEIGHT_SCALES, *GATES) == WEIGHT_NAMES


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_labels_stay_on_the_sound(corpus, strength):
    data = Corpus(corpus)
    aa, loud, faint = PHONES.index("aa"), [], []
    for seed in range(20):
        wave, phones, curves = make_example(data, np.random.default_rng(seed), 2.0, strength)
        assert wave.shape == (32000,) and phones.shape == (100,) and curves.shape == (100, len(WEIGHT_NAMES))
        level = np.log((wave.reshape(100, 320) ** 2).mean(1) + 1e-9)
        same = (phones == np.roll(phones, 1)) & (phones == np.roll(phones, -1))  # inside a phone
        if (same & (phones == aa)).any() and (same & (phones != aa)).any():
            loud.append(np.median(level[same & (phones == aa)]))
            faint.append(np.median(level[same & (phones != aa)]))
        assert curves[phones == 0][:, 0].max(initial=0) < 0.7
    assert np.mean(np.array(loud) > np.array(faint)) > 0.9


def test_resumes_to_the_same_bits(corpus, tmp_path):
    whole = run(corpus, tmp_path / "whole")
    with pytest.raises(PowerCut), power_cut(3):
        run(corpus, tmp_path / "cut")
    cut = next((tmp_path / "cut").iterdir())
    assert train(arguments(None, tmp_path, resume=cut)) == 0
    assert same(whole, cut) and read_curve(whole)["loss"] == read_curve(cut)["loss"]
    one, other = (load_file(each / "export" / "model.safetensors") for each in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_learns_and_can_be_loaded(corpus, tmp_path):
    fast = ("loop.max_steps=60", "loop.lr=0.01", "loop.ema=0.9", "data.strength=0.0")
    folder = run(corpus, tmp_path / "runs", *fast, f"data.valid={corpus}", "loop.validate_every=60")
    losses = list(read_curve(folder)["loss"].values())
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    assert 0 < json.loads((folder / "figures.json").read_text())["accuracy"] <= 1
    assert isinstance(PhoneticEncoder.from_pretrained(folder / "export"), PhoneticEncoder)


def test_wrong_settings_are_reported(corpus, tmp_path):
    with pytest.raises(InputError, match="stepz; did you mean"):
        run(corpus, tmp_path / "runs", "loop.max_stepz=1")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "store.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds store.json and is no corpus of synthetic speech"):
        run(tmp_path / "other", tmp_path / "runs")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["store.json"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "index.json").write_text("{}")
    with pytest.raises(InputError, match="give a speech corpus"):
        run(tmp_path / "empty", tmp_path / "runs")


def test_a_recipe_of_old_trains(corpus, tmp_path, capsys):
    """The flat keys of before, each with a notice."""
    recipe = tmp_path / "old.yaml"
    network = "network: {stem: 4, width: 24, dilations: [1, 1]}"
    recipe.write_text(f"stage: phonetic\ncorpus: {corpus}\nsteps: 2\nbatch: 2\nseconds: 1.0\nseed: 3\n{network}\n")
    options = arguments(None, tmp_path / "runs", "loop.accelerator=cpu")
    options.recipe = recipe
    assert train(options) == 0
    kept = read_recipe(next((tmp_path / "runs").iterdir()) / "recipe.yaml")
    assert kept["data"] == {"corpus": str(corpus), "seconds": 1.0}
    assert kept["loop"] == {"max_steps": 2, "seed": 3, "accelerator": "cpu"}
    assert "recipe key steps is now called loop.max_steps" in capsys.readouterr().err
