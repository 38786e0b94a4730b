"""`parlante train`: run a recipe."""

import argparse
import os
from pathlib import Path

EPILOG = """examples:
  parlante train recipes/textalker/motion_vqgan.yaml --set data.corpus=corpus --set loop.max_minutes=30
  parlante train recipes/textalker/diffusion.yaml --out runs
  parlante train --resume runs/motion_vqgan-001
"""

SHARED_RUN = "PARLANTE_RUN_DIR"
"""Where the first of several processes tells the others its run folder."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("recipe", type=Path, nargs="?", help="a YAML recipe; not needed with --resume")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value: loop.lr=1e-3")
    parser.add_argument(
        "--resume", type=Path, metavar="RUN_DIR", help="go on with an interrupted run, to the same bits"
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where new run folders are made (default: runs)")


def run(options: argparse.Namespace) -> int:
    """Make or reopen a run folder and hand over to the stage's main."""
    from parlante.core import InputError, new_run_dir
    from parlante.models import resolve
    from parlante.training import STAGES
    from parlante.training.run import first_process, keep_provenance, read_recipe

    if options.resume is not None:
        if options.recipe is not None or options.set:
            raise InputError("--resume goes on with the recipe of the run; give neither a recipe nor --set")
        path = options.resume / "recipe.yaml"
        if not path.is_file():
            raise InputError(f"{options.resume} is no run folder: it has no recipe.yaml")
        config, run_dir = read_recipe(path), options.resume
    else:
        if options.recipe is None:
            raise InputError("give a recipe, for example recipes/textalker/motion_vqgan.yaml, or --resume RUN_DIR")
        config, run_dir = read_recipe(options.recipe, options.set), None
    stage = config["stage"]
    if stage not in STAGES:
        raise InputError(f"no stage {stage!r}; known: {', '.join(STAGES)}")
    main = resolve(stage, STAGES)
    first = first_process()
    if run_dir is None and first:
        run_dir = new_run_dir(options.out, stage)
        keep_provenance(config, run_dir)
    elif run_dir is None:  # one of several processes, started by the first one
        if SHARED_RUN not in os.environ:
            raise InputError("several processes need one run folder: put recipe.yaml into a new one and --resume it")
        run_dir = Path(os.environ[SHARED_RUN])
    if first:
        os.environ[SHARED_RUN] = str(run_dir)
        print(f"run folder: {run_dir}")
    main(config, run_dir)
    if first:
        print(f"done: {run_dir}")
    return 0
