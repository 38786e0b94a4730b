"""The door for formats of other packages: they are listed, chosen by suffix, written and read back like ours."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parlante.cli import main
from parlante.core import Animation, InputError
from parlante.core.options import Fidelity
from parlante.core.plugins import resolve
from parlante.export import Format, animation_info, check_fit, check_outputs, formats, load, save, shows_skin
from parlante.export.formats import format_of, suffix_of

MODULE = """
from parlante.core import InputError
from parlante.export import Format
from parlante.export.npz import load as load_npz
from parlante.export.sink import FileSink

class Jaw(FileSink):
    def write(self, block):
        with self.partial.open("a") as file:
            file.writelines(f"{row[0]:.6f}\\n" for row in block.weights)

def read(path):
    return load_npz(path.with_suffix(".npz"))

FORMAT = Format(
    name="jaw", suffixes=(".jaw.txt",), sink="toy:Jaw", description="how wide the mouth is", loader="toy:read",
    needs_weights=True, needs_triangles=False, shows_skin=False, companions=(".jaw.json",),
)
GREEDY = Format(name="jaw", suffixes=(".glb",), sink="toy:Jaw", description="takes ours")
AGAIN = Format(name="glb", suffixes=(".other",), sink="toy:Jaw", description="takes a name")
OTHER = Format(name="other", suffixes=(".other",), sink="toy:Jaw", description="is not what its entry point says")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Installs a package `toy-formats` whose entry point is what is given."""
    site = tmp_path / "site"

    def put(value: str) -> None:
        facts = site / "toy_formats-1.0.dist-info"
        facts.mkdir(parents=True)
        (site / "toy.py").write_text(MODULE)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-formats\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[parlante.exporters]\njaw = {value}\n")
        monkeypatch.syspath_prepend(str(site))
        formats.cache_clear()

    yield put
    sys.modules.pop("toy", None)
    formats.cache_clear()


def test_every_format_of_ours_is_complete() -> None:
    for suffix, each in formats().items():
        assert suffix in each.suffixes and each.description
        assert callable(resolve(each.sink).write)
        assert not each.loader or callable(resolve(each.loader))


def test_the_longest_suffix_wins() -> None:
    for name, wanted in (
        ("a.arkit.vrma", ".arkit.vrma"), ("a.csv", ".csv"), ("b.A2F.CSV", ".a2f.csv"), ("x/a.obj/", ".obj/"),
        ("folder", "/"), ("folder/", "/"), (".csv", "/"),
    ):  # fmt: skip
        assert suffix_of(name) == wanted, name
    assert format_of("a.skin.mp4").name == "skin-video"


def test_what_an_animation_lacks_is_said_before_the_work(animation: Animation, tmp_path: Path) -> None:
    info = animation_info(animation)
    silent = replace(info, weight_names=())
    with pytest.raises(InputError, match=r"no blendshape weights; choose one of .*\.glb.*\.npz"):
        check_fit(["a.npz", "a.csv"], silent)
    none = info.topology.triangles[:0]
    points = replace(silent, topology=replace(info.topology, triangles=none, uv_triangles=none))
    with pytest.raises(
        InputError, match=r"no triangles .*choose one of \.npz, \.flame\.npz, \.npy, \.pc2, \.mdd, \.mc$"
    ):
        check_fit(["a.glb"], points)
    check_fit(["a.npz", "a.pc2"], points)
    with pytest.raises(InputError, match="no blendshape weights"):
        save(replace(animation, weights=None), tmp_path / "a.keys.json")
    assert not list(tmp_path.iterdir())


def test_only_outputs_that_show_skin_need_it_painted() -> None:
    assert not shows_skin(["a.csv", "a.vrma", "a.arkit.vrma", "a.pc2", "a.tsv"])
    assert shows_skin(["a.csv", "a.npz"]) and shows_skin(["folder/"])


def test_what_was_saved_is_loaded(animation: Animation, tmp_path: Path) -> None:
    import parlante

    save(animation, tmp_path / "a.npz")
    again = parlante.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.vertices, animation.vertices)
    for name in ("a.glb", "a.fbx", "folder"):
        with pytest.raises(InputError, match=r"only \.npz can be read back"):
            load(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "b.npz")


def test_a_plug_in_format_is_one_of_ours(
    install: Callable[[str], None], animation: Animation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("toy:FORMAT")
    with pytest.raises(SystemExit) as stop:
        main(["export", "--formats"])
    assert stop.value.code == 0 and ".jaw.txt" in capsys.readouterr().out
    assert not shows_skin(["a.jaw.txt"])
    with pytest.raises(InputError, match="would both write"):
        check_outputs([tmp_path / "a.jaw.txt", f"{tmp_path}/a.jaw.json/"])
    save(animation, tmp_path / "a.jaw.txt", tmp_path / "a.jaw.npz")
    assert animation.weights is not None
    lines = (tmp_path / "a.jaw.txt").read_text().splitlines()
    np.testing.assert_allclose([float(line) for line in lines], animation.weights[:, 0], atol=1e-6)
    assert load(tmp_path / "a.jaw.txt").fps == animation.fps
    with pytest.raises(InputError, match="no blendshape weights"):
        save(replace(animation, weights=None), tmp_path / "b.jaw.txt")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("toy:NOTHING", "'jaw' of toy-formats .*cannot be loaded: AttributeError"),
        ("absent:FORMAT", "'jaw' of toy-formats .*cannot be loaded: ModuleNotFoundError"),
        ("toy:Jaw", "'jaw' of toy-formats .*wanted a Format"),
        ("toy:AGAIN", "'jaw' of toy-formats .*takes the name 'glb'"),
        ("toy:OTHER", "'jaw' of toy-formats .*calls itself 'other'; give its entry point that name"),
        ("toy:GREEDY", "'jaw' takes the suffix .glb, which 'glb' has"),
    ],
)
def test_a_broken_plug_in_gives_one_clear_line(
    install: Callable[[str], None], value: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install(value)
    with pytest.raises(InputError, match=wanted):
        check_outputs(["a.glb"])
    with pytest.raises(SystemExit) as stop:
        main(["export", "--formats"])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"suffixes": ()}, {"suffixes": ("glb",)}, {"suffixes": (".GLB",)}, {"sink": "nowhere"},
        {"options": ("wishes",)}, {"loader": "nowhere"},
    ],
)  # fmt: skip
def test_a_format_that_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InputError, match="format 'odd'"):
        Format(**{"name": "odd", "suffixes": (".odd",), "sink": "a:B", "description": "", **fields})  # type: ignore[arg-type]


def test_motion_by_weights_was_called_curves(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parlante.core.renames._said", set())
    assert Fidelity(motion="curves").motion == "weights"
    assert "--motion weights" in capsys.readouterr().err
    with pytest.raises(InputError, match="auto, weights or vertices"):
        Fidelity(motion="bones")
