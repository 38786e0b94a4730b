"""Write requirements.lock: every package that `make test` installs, with its version and the hashes of its files here.

python tools/lock.py

pip resolves constraints.txt, downloads nothing that it has, and says what it would install. torch is left out: which of
its builds is offered differs from index to index. `make locked` installs by the file.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADER = """# Made by tools/lock.py for Python 3.11 on Linux, x86-64; for pip install --no-deps --require-hashes -r
# torch is not here: which of its builds is offered differs from index to index; constraints.txt has its version.
"""
LEFT_OUT = ("parlante", "torch")


def main() -> None:
    """Resolve and write."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--report", str(report), "-c", "constraints.txt", "-e", ".[dev,docs]"]
        subprocess.run(command, cwd=ROOT, check=True)
        found = json.loads(report.read_text())["install"]
    lines = []
    for item in found:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        if name.lower() in LEFT_OUT:
            continue
        hashes = item["download_info"]["archive_info"]["hashes"]
        lines.append(f"{name}=={version} --hash=sha256:{hashes['sha256']}\n")
    (ROOT / "requirements.lock").write_text(HEADER + "".join(sorted(lines, key=str.lower)))
    print(f"{len(lines)} packages in requirements.lock")


if __name__ == "__main__":
    main()
