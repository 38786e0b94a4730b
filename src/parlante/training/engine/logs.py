"""What a run writes down while it trains: metrics.csv, TensorBoard events, training.log; and the curve read back.

Every sitting of a run logs into a folder of its own, `log-0`, `log-1`, ...; a sitting that resumes from a checkpoint
repeats the steps after it, to the same bits. `read_curve` puts the sittings together.
"""

import csv
import importlib.util
import logging
from pathlib import Path
from typing import Any

from parlante.core import InputError, MissingExtra, atomic_path

CLOCK = ("minutes", "waiting")
"""Columns that depend on the machine, not on the training."""

log = logging.getLogger("parlante.training")


class MetricsLog:
    """Rows of figures in `folder/metrics.csv` and, where wanted, for TensorBoard beside it and Weights & Biases.

    wandb: a project of the latter; empty: none. Each row is on disk when `write` returns. Raises InputError where the
    folder cannot be written to, MissingExtra without a library that is wanted.
    """

    def __init__(self, folder: Path, tensorboard: bool = False, wandb: str = "") -> None:
        self.path = folder / "metrics.csv"
        self.columns: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self.events: Any = None
        self.online: Any = None
        check_loggers(tensorboard, wandb)
        try:
            folder.mkdir(parents=True)
            if tensorboard:
                self.events = _events(folder)
            if wandb:
                self.online = _online(folder, wandb)
        except OSError as error:
            raise InputError(f"cannot write {folder}: {error.strerror or error}; choose another run folder") from error

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Add a row."""
        row = {"step": step, **figures}
        self.rows.append(row)
        new = [name for name in row if name not in self.columns]
        self.columns += new
        try:
            if new:  # a new column: the whole file again, whole or not at all
                with atomic_path(self.path) as path, path.open("w", newline="") as file:
                    table = csv.DictWriter(file, self.columns)
                    table.writeheader()
                    table.writerows(self.rows)
            else:
                with self.path.open("a", newline="") as file:
                    csv.DictWriter(file, self.columns).writerow(row)
            if self.events is not None:
                for name, value in figures.items():
                    self.events.add_scalar(name, value, step)
                self.events.flush()
            if self.online is not None:
                self.online.log(figures, step=step)
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}; make room and --resume") from error

    def close(self) -> None:
        """Finish TensorBoard's file, and the run on Weights & Biases."""
        if self.events is not None:
            self.events.close()
        if self.online is not None:
            self.online.finish()


def check_loggers(tensorboard: bool, wandb: str) -> None:
    """Raises MissingExtra where a library is wanted that is not installed; before anything is prepared."""
    for name, wanted in (("tensorboard", tensorboard), ("wandb", bool(wandb))):
        if wanted and importlib.util.find_spec(name) is None:
            raise MissingExtra(name, name)


def _events(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


def _online(folder: Path, project: str) -> Any:
    """A run named after the run folder."""
    wandb = importlib.import_module("wandb")
    return wandb.init(project=project, name=folder.parent.name, dir=str(folder))


def next_sitting(run_dir: Path) -> Path:
    """`log-N` of a sitting that begins."""
    return run_dir / f"log-{len(list(run_dir.glob('log-*')))}"


def read_curve(run_dir: Path | str, *, clock: bool = False) -> dict[str, dict[int, float]]:
    """Figures of a run by name and step, all sittings together: {"loss": {20: 1.3, 40: 1.1}, ...}.

    Of steps that were trained twice, before and after an interruption, the later sitting counts. clock: also the
    columns that depend on the machine. Raises InputError where there is no run.
    """
    folders = sorted(Path(run_dir).glob("log-*"), key=lambda folder: int(folder.name.removeprefix("log-")))
    paths = [folder / "metrics.csv" for folder in folders if (folder / "metrics.csv").is_file()]
    if not paths:
        raise InputError(f"{run_dir} has no log-N/metrics.csv; give the folder of a run")
    curve: dict[str, dict[int, float]] = {}
    for path in paths:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if name != "step" and value and (clock or name not in CLOCK):
                        curve.setdefault(name, {})[int(row["step"])] = float(value)
    return curve


class LogFile:
    """While open, what `parlante` and Lightning say is added to `path`, too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> "LogFile":
        try:
            self.handler = logging.FileHandler(self.path, encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror or error}; choose another run folder"
            ) from error
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._loggers = [logging.getLogger(name) for name in ("parlante", "lightning.fabric")]
        self._level = self._loggers[0].level
        self._loggers[0].setLevel(logging.INFO)
        for each in self._loggers:
            each.addHandler(self.handler)
        return self

    def __exit__(self, *_: object) -> None:
        self._loggers[0].setLevel(self._level)
        for each in self._loggers:
            each.removeHandler(self.handler)
        self.handler.close()
