"""The folder of files that ship inside the package."""

from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"
