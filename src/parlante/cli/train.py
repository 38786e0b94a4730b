"""`parlante train`: run a recipe."""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

EPILOG = """examples:
  parlante train recipes/textalker/motion_vqgan.yaml --set data.corpus=corpus --set loop.max_minutes=30
  parlante train recipes/faceformer/small.yaml --set data.corpus=corpus --overfit-one-clip
  parlante train recipes/textalker/diffusion_paper.yaml --devices 4 --num-nodes 2 --run runs/paper
  parlante train --resume runs/motion_vqgan-001
  parlante train --resume runs/faceformer-001 --set loop.max_steps=5000      a run that is over goes on
  parlante train recipes/faceformer/biwi.yaml --set data.corpus=biwi --train-subjects F2,M3 --test-subjects F2,F1
  parlante train --keys faceformer                            what a recipe of that stage may say
  parlante train --describe recipes/ptalker/biwi.yaml         what a recipe turns on: losses, speech networks, sizes
"""

SHARED_RUN = "PARLANTE_RUN_DIR"
"""Where the first of several processes tells the others its run folder."""
PATIENCE = 120.0
"""Seconds that other processes wait for the run folder of the first."""
OVERFIT_STEPS = 300
LONGER = ("loop.max_steps", "loop.epochs", "loop.max_minutes")
"""What may change when a run goes on."""
FALLEN = 0.5
"""Share of the first loss that the last one must be below when a single clip is learnt."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from parlante.cli._options import add_options
    from parlante.data.subject_lists import SubjectLists

    parser.epilog = EPILOG
    parser.add_argument("recipe", type=Path, nargs="?", help="a YAML recipe; not needed with --resume")
    parser.add_argument(
        "--keys",
        nargs="?",
        const="",
        metavar="STAGE",
        help="print what recipes may say, of one stage or of all",
    )
    parser.add_argument("--describe", type=Path, metavar="RECIPE", help="print what a recipe turns on, key by key")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value: loop.lr=1e-3")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="RUN_DIR",
        help="go on with an interrupted run, to the same bits; with --set loop.max_steps, loop.epochs or "
        "loop.max_minutes for longer than it was begun for",
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where new run folders are made (default: runs)")
    parser.add_argument(
        "--run",
        type=Path,
        metavar="RUN_DIR",
        help="use this folder instead of a new numbered one, and go on where it holds the same recipe (for schedulers)",
    )
    add_options(parser, SubjectLists)
    parser.add_argument(
        "--devices", type=int, metavar="N", help="devices of each machine; each trains on its own batch"
    )
    parser.add_argument("--num-nodes", type=int, metavar="M", help="machines")
    parser.add_argument(
        "--overfit-one-clip",
        action="store_true",
        help=f"smoke test: learn one clip in at most {OVERFIT_STEPS} steps; the exit code says whether it was learnt",
    )


def run(options: argparse.Namespace) -> int:
    """Make or reopen a run folder and train."""
    from parlante.core import InputError, MissingExtra
    from parlante.core.interruption import interruptible
    from parlante.training import find_stage, recipe_keys
    from parlante.training.engine.processes import first_process

    if options.keys is not None:
        print(recipe_keys(options.keys), end="")
        return 0
    if options.describe is not None:
        return _describe(options)
    config, run_dir = _recipe(options)
    stage = find_stage(config["stage"])
    recipe = stage.read(config)
    first = first_process()
    wanted = run_dir if run_dir is not None else options.run
    new = first and (wanted is None or not wanted.exists())
    run_dir = _folder(options, config, wanted, first)
    if first:
        os.environ[SHARED_RUN] = str(run_dir)
        print(f"run folder: {run_dir}")
    try:
        with interruptible():
            stage.run(recipe, run_dir)
    except (InputError, MissingExtra):
        if new and _discard(run_dir):
            print(f"nothing was trained; {run_dir} is removed")
        raise
    if not first:
        return 0
    print(f"done: {run_dir}")
    if config.get("loop", {}).get("one_clip"):
        return _verdict(run_dir)
    return _test(recipe, run_dir) if "test" in recipe.settings else 0


def _describe(options: argparse.Namespace) -> int:
    from parlante.training import find_stage
    from parlante.training.engine.recipe import read_recipe
    from parlante.training.engine.reference import describe

    config = read_recipe(options.describe, options.set)
    print(describe(find_stage(config["stage"]), config), end="")
    return 0


def _test(recipe: Any, run_dir: Path) -> int:
    """Judge the trained model on the recipe's protocols and splits; the exit code of the last one that failed."""
    from parlante.cli import main
    from parlante.data.open import open_corpus
    from parlante.data.splits import TESTS
    from parlante.data.subject_lists import with_subjects
    from parlante.evaluation.protocols import PROTOCOLS

    data, wanted, code = recipe["data"], recipe["test"], 0
    corpus = data.corpus
    splits = {clip.split for clip in with_subjects(open_corpus(corpus), data).clips}
    names, chosen = wanted.clips, []
    if data.given and any(name in PROTOCOLS for name in names):
        names = [name for name in TESTS if name in splits]
        print(f"the speakers are chosen by hand: tested on {', '.join(names) or 'nothing'}, not on a published list")
    for list_name, speakers in data.given.items():
        chosen += [f"--{list_name.replace('_', '-')}", ",".join(speakers)]
    for name in names:
        folder = run_dir / "test" / name
        if name not in PROTOCOLS and name not in splits:
            print(f"test on {name}: left out, {corpus} has no such clips; it has {', '.join(sorted(splits))}")
            continue
        if (folder / "report").exists():
            print(f"test on {name}: done before, see {folder}")
            continue
        option = "--protocol" if name in PROTOCOLS else "--split"
        videos = ["--videos", str(folder / "videos")] if wanted.videos else ["--no-video"]
        command = ["evaluate", str(run_dir), "--data", corpus, option, name, "--clips", "0", *videos, *chosen]
        folder.mkdir(parents=True, exist_ok=True)
        failed = main([*command, "--save", str(folder / "predictions"), "-o", str(folder / "report")])
        code = failed or code
    return code


def _recipe(options: argparse.Namespace) -> tuple[dict[str, Any], Path | None]:
    """The recipe with all changes, and the folder of a run to go on with."""
    from parlante.cli._options import read_options
    from parlante.core import InputError
    from parlante.data.subject_lists import SubjectLists
    from parlante.training.engine.recipe import LoopConfig, read_recipe
    from parlante.training.engine.schema import section

    changes = list(options.set)
    for key, value in (("devices", options.devices), ("nodes", options.num_nodes)):
        changes += [] if value is None else [f"loop.{key}={value}"]
    chosen = read_options(options, SubjectLists)
    changes += [f"data.{name}={json.dumps(names)}" for name, names in chosen.given.items()]
    overfit = options.overfit_one_clip
    if options.resume is not None:
        other = [change for change in changes if change.partition("=")[0] not in LONGER]
        if options.recipe is not None or other or overfit or options.run:
            raise InputError(
                f"--resume goes on with the recipe of the run; give nothing else but --set {' or '.join(LONGER)}"
            )
        path = options.resume / "recipe.yaml"
        if not path.is_file():
            raise InputError(f"{options.resume} is no run folder: it has no recipe.yaml")
        return read_recipe(path, changes), options.resume
    if options.recipe is None:
        raise InputError("give a recipe, for example recipes/textalker/motion_vqgan.yaml, or --resume RUN_DIR")
    config = read_recipe(options.recipe, changes)
    if overfit:
        section(LoopConfig, config, "loop")
        loop = config["loop"] = dict(config.get("loop") or {})
        steps = min(int(loop.get("max_steps", OVERFIT_STEPS)), OVERFIT_STEPS)
        loop |= {"one_clip": True, "max_steps": steps, "log_every": 1, "validate_every": steps, "save_every": steps}
        loop["warmup"] = min(int(loop.get("warmup", 10)), 10)
    return config, None


def _folder(options: argparse.Namespace, config: dict[str, Any], wanted: Path | None, first: bool) -> Path:
    """The run folder, `wanted` or a new numbered one; only the first of several processes makes one."""
    from parlante.core import InputError, new_run_dir
    from parlante.training.engine.provenance import check_data, keep_provenance
    from parlante.training.engine.recipe import read_recipe

    if wanted is None and first:
        new = new_run_dir(options.out, config["stage"])
        keep_provenance(config, new)
        return new
    if wanted is None:  # one of several processes, started by the first one
        if SHARED_RUN not in os.environ:
            raise InputError("several processes need one run folder that all of them know: give --run RUN_DIR")
        return Path(os.environ[SHARED_RUN])
    recipe = wanted / "recipe.yaml"
    if first and not recipe.is_file():
        if wanted.exists() and any(wanted.iterdir()):
            raise InputError(f"{wanted} holds something else than a run; choose another folder")
        try:
            wanted.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make {wanted}: {error.strerror or error}; choose another folder") from error
        keep_provenance(config, wanted)
    deadline = time.monotonic() + PATIENCE
    while not recipe.is_file():
        if time.monotonic() > deadline:
            raise InputError(f"the first process has not made {wanted}; is the folder shared by all machines?")
        time.sleep(0.2)
    before = read_recipe(recipe)
    if options.resume is not None and before != config:
        if first:
            _extend(wanted, before, config)
    elif before != config:
        raise InputError(f"{wanted} was trained with another recipe; choose another folder, or --resume it as it is")
    check_data(config, wanted)
    return wanted


def _extend(run_dir: Path, before: dict[str, Any], config: dict[str, Any]) -> None:
    """Put aside what a run that is over has left, and give it the longer recipe. Raises InputError if it is shorter."""
    import yaml

    from parlante.core import InputError, atomic_path

    for name in (name.removeprefix("loop.") for name in LONGER):
        old, new = (recipe.get("loop", {}).get(name) for recipe in (before, config))
        if old != new and old is not None and new is not None and new <= old:
            raise InputError(f"loop.{name} of {run_dir} is {old}, got {new}; give more to go on with it")
    number = 1 + len(list(run_dir.glob("earlier-*")))
    aside = run_dir / f"earlier-{number}"
    aside.mkdir()
    (aside / "recipe.yaml").write_bytes((run_dir / "recipe.yaml").read_bytes())
    for name in ("export", "figures.json", "test"):
        if (run_dir / name).exists():
            (run_dir / name).rename(aside / name)
    with atomic_path(run_dir / "recipe.yaml") as path:
        path.write_text(yaml.safe_dump(config, sort_keys=False))
    print(f"{run_dir} goes on for longer; what it left so far is in {aside}")
    print("whatever goes by the length, such as a learning rate that falls to its end, now goes by the new one")


def _discard(run_dir: Path) -> bool:
    """Remove a new run folder in which no step was taken; says whether that was so."""
    import shutil

    from parlante.training.engine.provenance import FILES

    made = [path for path in run_dir.rglob("*") if path.is_file()]
    if any(path.parent != run_dir or path.name not in FILES for path in made):
        return False
    shutil.rmtree(run_dir, ignore_errors=True)
    return True


def _verdict(run_dir: Path) -> int:
    """0 if a single clip was learnt."""
    from parlante.training.engine.logs import read_curve

    loss = list(read_curve(run_dir)["loss"].values())
    last = sum(loss[-10:]) / len(loss[-10:])
    learnt = last < FALLEN * loss[0]
    print(f"one clip: loss {loss[0]:.4g} -> {last:.4g}; {'learnt' if learnt else 'NOT learnt: look at the recipe'}")
    return 0 if learnt else 1
