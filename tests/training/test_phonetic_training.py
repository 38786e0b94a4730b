"""The phonetic encoder's training: labels stay on the sound, it learns, and it resumes to the same bits."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from parlante.audio.encoders.phonetic import CURVE_SCALES, GATES, PhoneticEncoder
from parlante.audio.phones import PHONES, Phone
from parlante.core import InputError
from parlante.synth.voice_corpus import CURVES, LABEL_RATE, labels
from parlante.training.schemes.phonetic import Corpus, PhoneticTraining, main, make_example


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
    index = {"phones": PHONES, "curves": CURVES, "label_rate": LABEL_RATE, "utterances": rows}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def settings(corpus, **changes):
    network = {"stem": 4, "width": 24, "dilations": [1, 1]}
    values = {"steps": 4, "batch": 2, "seconds": 1.0, "checkpoint_every": 2, "network": network}
    return {"corpus": str(corpus), **values, **changes}


def test_the_same_curves_in_corpus_and_encoder():
    assert (*CURVE_SCALES, *GATES) == CURVES


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_labels_stay_on_the_sound(corpus, strength):
    data = Corpus(corpus)
    aa, loud, faint = PHONES.index("aa"), [], []
    for seed in range(20):
        wave, phones, curves = make_example(data, np.random.default_rng(seed), 2.0, strength)
        assert wave.shape == (32000,) and phones.shape == (100,) and curves.shape == (100, len(CURVES))
        level = np.log((wave.reshape(100, 320) ** 2).mean(1) + 1e-9)
        same = (phones == np.roll(phones, 1)) & (phones == np.roll(phones, -1))  # inside a phone
        if (same & (phones == aa)).any() and (same & (phones != aa)).any():
            loud.append(np.median(level[same & (phones == aa)]))
            faint.append(np.median(level[same & (phones != aa)]))
        assert curves[phones == 0][:, 0].max(initial=0) < 0.7
    assert np.mean(np.array(loud) > np.array(faint)) > 0.9


def test_resumes_to_the_same_bits(corpus, tmp_path):
    whole = load_file(main(settings(corpus), tmp_path / "whole") / "model.safetensors")
    main(settings(corpus), tmp_path / "parts")
    (tmp_path / "parts" / "log.csv").unlink()
    state = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)
    assert state["step"] == 4
    short = tmp_path / "short"

    class Stop(Exception):
        pass

    from parlante.training.schemes import phonetic

    original = phonetic.make_batch
    calls = []

    def interrupted(*arguments):
        calls.append(arguments[2])
        if len(calls) == 3:
            raise Stop
        return original(*arguments)

    phonetic.make_batch = interrupted
    try:
        with pytest.raises(Stop):
            main(settings(corpus), short)
    finally:
        phonetic.make_batch = original
    resumed = load_file(main(settings(corpus), short) / "model.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    rows = (short / "log.csv").read_text().splitlines()
    assert rows[0].startswith("step,seconds,loss") and [row.split(",")[0] for row in rows[1:]] == ["2", "4"]


def test_learns_and_can_be_loaded(corpus, tmp_path):
    folder = main(
        settings(corpus, steps=60, checkpoint_every=20, learning_rate=0.01, strength=0.0, average=0.9),
        tmp_path / "run",
    )
    losses = [float(row.split(",")[2]) for row in (tmp_path / "run" / "log.csv").read_text().splitlines()[1:]]
    assert losses[-1] < 0.7 * losses[0]
    assert isinstance(PhoneticEncoder.from_pretrained(folder), PhoneticEncoder)


def test_wrong_settings_are_reported(corpus, tmp_path):
    with pytest.raises(InputError, match="stepz"):
        main({**settings(corpus), "stepz": 1}, tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "index.json").write_text("{}")
    with pytest.raises(InputError, match="no speech corpus"):
        main(settings(tmp_path / "empty"), tmp_path / "run")


def test_the_recipe_is_valid():
    from pathlib import Path

    import yaml

    recipe = yaml.safe_load((Path(__file__).parents[2] / "recipes" / "phonetic.yaml").read_text())
    assert recipe.pop("stage") == "phonetic"
    PhoneticTraining(**recipe)
