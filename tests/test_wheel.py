"""The wheel: built, unpacked outside the source, and used from another folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from stand_in import spoken

pytest.importorskip("hatchling", reason="building needs parlante[dev]")

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_an_installed_wheel_speaks(tmp_path: Path) -> None:
    import wave

    build = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*build, "-w", str(tmp_path)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("parlante-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert not [name for name in names if name.startswith(("tests/", "recipes/")) or ".nbc" in name]
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in names}
    assert any(name.startswith("parlante/assets/") and name.endswith("model.safetensors") for name in names)
    with wave.open(str(tmp_path / "line.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((spoken(1.0) * 32767).astype("<i2").tobytes())
    script = (
        "import sys, parlante\nfrom parlante.cli import main\n"
        "assert parlante.__file__.startswith(sys.argv[1]), parlante.__file__\n"
        "assert main(['info']) == 0\n"
        "sys.exit(main(['animate', 'line.wav', '-o', 'line.npz', '-o', 'line.glb', '-q']))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-c", script, str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "identities" in done.stdout and (tmp_path / "line.glb").stat().st_size > 10_000
