"""Foreign checkpoints: every container is read, nothing in it runs, and what is wrong is said in one error."""

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from parlante.audio.encoders.networks import infer_config
from parlante.core import InputError
from parlante.core.plugins import resolve
from parlante.core.restricted_pickle import read_pickle
from parlante.models.checkpoint import differences
from parlante.models.codetalker.import_ import infer_autoencoder
from parlante.models.components.causal_decoder import periodic_positions
from parlante.models.importing import keys
from parlante.models.importing.containers import read_tensors
from parlante.models.registry import build
from parlante.models.registry import family as find_family


def weights() -> "OrderedDict[str, torch.Tensor]":
    generator = torch.Generator().manual_seed(0)
    return OrderedDict(
        (f"layers.{i}.{kind}", torch.randn(shape, generator=generator))
        for i in range(2)
        for kind, shape in (("weight", (4, 3)), ("bias", (4,)))
    )


WRAPPINGS = {
    "bare": lambda w: w,
    "state_dict": lambda w: {"state_dict": w},
    "model": lambda w: {"model": w, "epoch": 12},
    "model_state_dict": lambda w: {"model_state_dict": w, "optimizer_state_dict": {"state": {}}, "loss": 0.1},
    "params": lambda w: {"params": w},
    "params_ema": lambda w: {"params": {k: v + 1 for k, v in w.items()}, "params_ema": w},
    "data parallel": lambda w: {"state_dict": {f"module.{k}": v for k, v in w.items()}},
    "parameters": lambda w: {k: torch.nn.Parameter(v) for k, v in w.items()},
    "module": lambda w: _layers(w).state_dict(),
}


def _layers(state: Any) -> torch.nn.Module:
    """A module whose state dict carries torch's `_metadata`."""
    module = torch.nn.Module()
    module.layers = torch.nn.ModuleList([torch.nn.Linear(3, 4) for _ in range(2)])
    module.load_state_dict(state)
    return module


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_container_gives_the_same_tensors(tmp_path: Path, wrapping: str, zipped: bool) -> None:
    path = tmp_path / "model.pth.tar"
    torch.save(WRAPPINGS[wrapping](weights()), path, _use_new_zipfile_serialization=zipped)
    read = read_tensors(path)
    assert list(read) == list(weights())
    assert all(torch.equal(read[name], value) for name, value in weights().items())


def test_safetensors_and_other_precisions(tmp_path: Path) -> None:
    save_file({f"module.{k}": v.half() for k, v in weights().items()}, tmp_path / "model.bin")
    read = read_tensors(tmp_path / "model.bin")
    assert all(torch.equal(read[name], value.half().float()) for name, value in weights().items())


def test_a_tied_weight_is_read_twice(tmp_path: Path) -> None:
    shared = torch.randn(5, 4)
    torch.save({"a": shared, "b": shared.T, "c": shared[1:3]}, tmp_path / "tied.pth")
    read = read_tensors(tmp_path / "tied.pth")
    assert torch.equal(read["b"], shared.T) and torch.equal(read["c"], shared[1:3])


# -- what must not be believed


class Malice:
    """Unpickled by Python, this makes the folder `marker`."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.marker,)


class MaliceByState(Malice):
    """The same, while the state of an object is set."""

    def __reduce__(self) -> Any:
        return OrderedDict, (), {"a": Malice(Path(self.marker))}


def malicious_files(folder: Path, marker: Path) -> dict[str, Path]:
    """Files that would run code in a careless reader, in every container."""
    files = {}
    for kind, malice in (("call", Malice(marker)), ("state", MaliceByState(marker))):
        for zipped in (True, False):
            path = files[f"{kind}-{zipped}"] = folder / f"{kind}-{zipped}.pth"
            torch.save({"state_dict": weights(), "extra": malice}, path, _use_new_zipfile_serialization=zipped)
        for protocol in range(6):
            path = files[f"{kind}-plain-{protocol}"] = folder / f"{kind}-{protocol}.pth"
            path.write_bytes(pickle.dumps({"weight": malice}, protocol))
    (folder / "proto0.pth").write_bytes(b"cos\nmkdir\n(S'%s'\ntR." % str(marker).encode())
    (folder / "inst.pth").write_bytes(b"(S'%s'\nios\nmkdir\n." % str(marker).encode())
    return files | {"proto0": folder / "proto0.pth", "inst": folder / "inst.pth"}


def test_nothing_in_a_malicious_file_runs(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    for name, path in malicious_files(tmp_path, marker).items():
        for read in (read_tensors, read_pickle):
            with pytest.raises(InputError):
                read(path)
            assert not marker.exists(), f"{name} was executed by {read.__name__}"
    pickle.loads((tmp_path / "call-2.pth").read_bytes())
    assert marker.exists(), "the files are harmless, so the test shows nothing"


def test_a_refusal_names_what_the_file_asked_for(tmp_path: Path) -> None:
    files = malicious_files(tmp_path, tmp_path / "executed")
    with pytest.raises(InputError, match=r"call-True\.pth was refused, nothing was executed.*\.mkdir"):
        read_tensors(files["call-True"])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, zipped: bool) -> None:
    buffer = io.BytesIO()
    torch.save(weights(), buffer, _use_new_zipfile_serialization=zipped)
    whole, path = buffer.getvalue(), tmp_path / "cut.pth"
    for length in [0, 1, 3, 15, 17, *range(40, len(whole) - 1, len(whole) // 40), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.pth"):
            read_tensors(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_a_damaged_file_is_read_or_refused_but_never_crashes(tmp_path: Path, zipped: bool) -> None:
    buffer = io.BytesIO()
    torch.save(weights(), buffer, _use_new_zipfile_serialization=zipped)
    whole, path = bytearray(buffer.getvalue()), tmp_path / "damaged.pth"
    random = np.random.default_rng(0)
    for _ in range(150):
        damaged = whole.copy()
        for place in random.integers(0, 700, 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_tensors(path)
        except InputError:
            continue


def _rezip(source: Path, target: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> None:
    """Copy a torch zip; `change(name, content)` gives each part's new content, or None to leave it out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)


def test_claims_beyond_the_file_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    honest, lying = tmp_path / "honest.pth", tmp_path / "lying.pth"
    torch.save({"w": torch.zeros(1000)}, honest)

    def claim(name: str, content: bytes) -> bytes:  # 1000 -> 2 ** 31 - 1 numbers, in storage and shape alike
        return content.replace(b"M\xe8\x03", b"J\xff\xff\xff\x7f") if name.endswith("data.pkl") else content

    _rezip(honest, lying, claim)
    with pytest.raises(InputError, match="not all there"):
        read_tensors(lying)
    _rezip(honest, lying, lambda name, content: None if name.endswith("data/0") else content)
    with pytest.raises(InputError, match="not all there"):
        read_tensors(lying)
    _rezip(honest, lying, lambda name, content: content, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed"):
        read_tensors(lying)


def test_a_tensor_that_repeats_its_storage_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "bomb.pth")
    with pytest.raises(InputError, match="does not fit"):
        read_tensors(tmp_path / "bomb.pth")
    shared = torch.zeros(1000)
    torch.save({f"w{i}": shared for i in range(1000)}, tmp_path / "many.pth")
    with pytest.raises(InputError, match="claim"):
        read_tensors(tmp_path / "many.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"w": torch.tensor([1.0, float("nan")])}, "not finite"),
        ({"w": torch.zeros(2, dtype=torch.int64)}, "wanted plain float32"),
        ({"w": torch.zeros(2), "epoch": 3}, "no tensors: epoch"),
        ({}, "holds nothing"),
        ([torch.zeros(2)], "wanted a dict"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(InputError, match=message):
        read_tensors(tmp_path / "model.pth")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("<html>Not found, please sign in</html>")
    np.savez(tmp_path / "arrays.pth.npz", a=np.zeros(3))
    (tmp_path / "arrays.pickle").write_bytes(pickle.dumps({"a": np.zeros(3)}))
    for path in tmp_path.iterdir():
        with pytest.raises(InputError):
            read_tensors(path)
    with pytest.raises(InputError, match="no such file"):
        read_tensors(tmp_path / "absent.pth")


# -- pickles of arrays


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_plain_values_come_out_of_a_pickle(tmp_path: Path, protocol: int) -> None:
    data = {
        "subject": np.arange(12.0).reshape(4, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "swapped": np.arange(3, dtype=">i4"),
        "plain": [1, 2.5, None, True, "é\n'", b"\x00\xff", -(2**70), (1, (2, [3]))],
        "scalar": np.float32(1.5),
    }
    (tmp_path / "data.pkl").write_bytes(pickle.dumps(data, protocol))
    read = read_pickle(tmp_path / "data.pkl")
    for name in ("subject", "fortran", "swapped"):
        assert read[name].tolist() == data[name].tolist()  # type: ignore[attr-defined]
    assert read["plain"] == data["plain"] and read["scalar"] == 1.5


def test_a_python_2_pickle_is_read(tmp_path: Path) -> None:
    values = np.arange(3.0)
    raw = "".join(f"\\x{byte:02x}" for byte in values.tobytes())
    text = (
        "(dp0\nS'F\\xe9'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7\n"
        "(I1\n(I3\ntp8\ncnumpy\ndtype\np9\n(S'f8'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\n"
        f"S'{raw}'\np15\ntp16\nbs."
    )
    (tmp_path / "python2.pkl").write_bytes(text.encode("ascii"))
    read = read_pickle(tmp_path / "python2.pkl")
    assert list(read) == ["Fé"] and read["Fé"].tolist() == values.tolist()


def test_a_pickle_that_is_no_plain_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.pkl"
    nest = b"\x80\x02" + b"}" + b")" + b"2\x86" * 60 + b"Ns."  # a key that takes 2 ** 60 steps to hash
    cases = {
        "instruction|asks": pickle.dumps(Path("x")),
        "neither text nor number": nest,
        "wanted numbers": pickle.dumps(np.array([{}], object)),
        "ends too early": b"\x80\x04X\xff\xff\xff\x7fab",
    }
    for message, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_pickle(path)


def test_random_bytes_never_do_more_than_fail(tmp_path: Path) -> None:
    random, path = np.random.default_rng(1), tmp_path / "noise.pkl"
    whole = bytearray(pickle.dumps({"a": np.arange(3.0), "b": [1, "x", (2,)]}, 2))
    for trial in range(400):
        content = bytearray(random.bytes(60)) if trial % 2 else whole.copy()
        content[int(random.integers(len(content)))] = int(random.integers(256))
        path.write_bytes(bytes(content))
        try:
            read_pickle(path)
        except InputError:
            continue


# -- what published tensors tell


@pytest.mark.parametrize(
    ("model", "fixture", "rate", "fps"),
    [
        ("faceformer", "end_to_end_vocaset", "aligned", 30.0),
        ("talkingstyle", "end_to_end_biwi", "pairs", 25.0),
        ("ptalker", "end_to_end_vocaset", "aligned", 30.0),
    ],
)
def test_sound_to_vertices_as_the_authors_code(
    shared: Path, tmp_path: Path, model: str, fixture: str, rate: str, fps: float
) -> None:
    pytest.importorskip("transformers")
    from parlante.models.importing.motion_import import import_checkpoint
    from parlante.models.mesh_network import MeshNetwork

    golden = load_file(shared / "parity" / model / f"{fixture}.safetensors")
    facts = json.loads((shared / "parity" / model / f"{fixture}.json").read_text())
    state = {name.removeprefix("state/"): value for name, value in golden.items() if name.startswith("state/")}
    torch.save(state, tmp_path / "published.pth")
    heads = {"speech.heads": 4} | ({"emotion.heads": 4} if model == "ptalker" else {})
    imported = import_checkpoint(model, [tmp_path / "published.pth"], rate=rate, fps=fps, settings=heads)
    talker = MeshNetwork.from_pretrained(imported.save(tmp_path / "talker"))
    speaker = talker.config.subjects[int(golden["in/one_hot"].argmax())]
    audio, face = golden["in/audio"].reshape(1, -1), golden["in/template"].reshape(-1, 3)
    said = talker.generate(audio, face, speaker, reference=True)
    case = facts["cases"]["predict_seen" if model == "ptalker" else "predict"]["outputs"]["vertice"]
    floor = max(1e-5, 20 * case["fp32_vs_fp64_max_abs"])
    torch.testing.assert_close(said.flatten(-2), golden[case["key"]], atol=floor, rtol=0)
    talker.double()  # the recorded sound is normalised already; in double precision that must not be done again
    exact = talker.generate(audio.double(), face.double(), speaker, reference=True, normalised=True).flatten(-2)
    wanted = golden[case["key64"]]
    assert (exact - wanted).abs().max() < 1e-9 * wanted.abs().max()


FULL_SIZE = {
    "faceformer_vocaset": ("faceformer", 15069, 30, 8, 1),
    "faceformer_biwi": ("faceformer", 70110, 25, 6, 1),
    "talkingstyle_vocaset": ("talkingstyle", 15069, 30, 8, 6),
    "talkingstyle_biwi": ("talkingstyle", 70110, 25, 6, 6),
    "ptalker_vocaset_d128": ("ptalker", 15069, 30, 8, 6),
    "ptalker_biwi_d128": ("ptalker", 70110, 25, 6, 6),
    "codetalker_stage2_vocaset": ("codetalker", 15069, 30, 8, 6),
    "codetalker_stage2_biwi": ("codetalker", 70110, 25, 6, 12),
}


@pytest.mark.parametrize("name", FULL_SIZE)
def test_sizes_and_names_of_the_published_files(shared: Path, name: str) -> None:
    model, motion, period, subjects, layers = FULL_SIZE[name]
    tensors = _full_size(shared, name, period)
    found_period, rest = keys.take_tables(tensors, name)
    _, family = keys.split(keys.split(rest, keys.SPEECH)[1], keys.EMOTION)
    sizes = resolve(find_family(model).importer).infer(rest) | {"period": found_period}
    if model == "codetalker":
        first = keys.take_tables(_full_size(shared, name.replace("stage2", "stage1"), period), name)[1]
        sizes["autoencoder"] = infer_autoencoder(first)
        family |= {f"autoencoder.{key}": value for key, value in first.items()}
    assert (sizes["motion_dim"], found_period, sizes["subjects"], sizes["layers"]) == (motion, period, subjects, layers)
    with torch.device("meta"):
        built = build(model, sizes)
    assert differences(family, built.state_dict()) == []


def _full_size(shared: Path, name: str, period: int) -> dict[str, torch.Tensor]:
    """The published names and shapes, one number repeated; true positional tables."""
    shapes = json.loads((shared / "parity/keys" / f"{name}.json").read_text())["shapes"]
    tensors = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    for key, shape in shapes.items():
        if key.endswith("PE.pe"):
            tensors[key] = periodic_positions(0, shape[1], shape[2], period)[None]
        elif key.endswith(".pe"):
            tensors[key] = periodic_positions(0, shape[0], shape[2], shape[0])[:, None]
    return tensors


def test_sizes_of_the_published_textalker(shared: Path) -> None:
    """Names and shapes of the released networks -> the published sizes, nothing missing, nothing unexpected."""
    from parlante.models.textalker.denoiser import DenoiserConfig
    from parlante.models.textalker.diffusion import LatentDiffusion
    from parlante.models.textalker.import_ import infer_denoiser, infer_vqgan
    from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig

    listed = json.loads((shared / "parity" / "textalker" / "real_size_keys.json").read_text())
    with torch.device("meta"):
        top, coder = (
            {name: torch.empty(shape) for name, shape in listed[kind].items()}
            for kind in ("textalker", "vqautoencoder")
        )
        denoiser, sizes = infer_denoiser(top), infer_vqgan(coder, 32, 4096)
        assert denoiser == DenoiserConfig() and sizes == VQGANConfig()
        own = {name: value for name, value in top.items() if not name.startswith(keys.SPEECH)}
        assert differences(own, LatentDiffusion(denoiser).state_dict()) == []
        assert differences(coder, VQAutoEncoder(sizes).state_dict()) == []
    speech, _ = keys.split(top, keys.SPEECH)
    network = infer_config(speech, None)
    assert (network["hidden_size"], network["num_hidden_layers"], network["num_attention_heads"]) == (768, 12, 12)
