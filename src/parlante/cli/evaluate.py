"""`parlante evaluate`: models judged on any corpus, as a report; with --quality as the quality report of one model."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from parlante.cli._options import OldName, add_device, add_options, read_options
from parlante.evaluation.config import EvalConfig

SYNTHTALK = Path("corpora/synthtalk")
DEFAULT_MODEL = "textalker"
CLIPS = 40
"""Judged where neither `--clips` nor `--protocol` is given."""
EPILOG = """examples:
  parlante evaluate talkingstyle textalker --data corpora/synthtalk --split test_seen --clips 24 -o report
  parlante evaluate runs/faceformer-003 --data VOCASET --protocol facediffuser-vocaset -o report
  parlante evaluate runs/faceformer-003 --data VOCASET --save predictions --videos videos -o report
  parlante evaluate predictions/ --data BIWI --protocol codetalker-biwi-a -o report
  parlante evaluate textalker --quality docs/models/quality.md

The report is report.html, one file that opens without a network, and report.json, which parlante compare reads.
--quality judges one model on both test splits of SynthTalk, compares its styles, and judges it on recordings of people
where they are at hand ($PARLANTE_SHARED). Without --data it takes the corpus in corpora/synthtalk, and writes it first
where there is none (training extra: speech synthesis).
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Judge models against the known truth of a corpus: by shipped name, checkpoint or run folder, or a folder of "
        "predictions (SUBJECT_SENTENCE.npy, SUBJECT_SENTENCE_condition_OTHER.npy). Figures have bootstrap intervals."
    )
    parser.epilog = EPILOG
    parser.add_argument("models", nargs="*", metavar="MODEL", help="shipped name, folder of a model, or of predictions")
    parser.add_argument("--data", metavar="DATA", help="corpus: a folder, or the URL of a clip store")
    parser.add_argument("-o", "--out", type=Path, default=Path("report"), metavar="DIR", help="default: report")
    add_device(parser)
    add_options(parser, EvalConfig, clips=None)
    parser.add_argument(
        "--save",
        type=Path,
        metavar="DIR",
        help="new folder for the predictions, in the published layout: SUBJECT_SENTENCE_condition_OTHER.npy",
    )
    parser.add_argument("--videos", type=Path, metavar="DIR", help="new folder for a video with sound of every clip")
    parser.add_argument(
        "--study", type=Path, metavar="DIR", help="new folder for a user study: a page of pairs of videos, static HTML"
    )
    parser.add_argument("--show", type=int, default=1, metavar="N", help="clips shown as curves and video (default 1)")
    parser.add_argument("--no-video", action="store_true", help="leave the video out: a small report")
    parser.add_argument("--no-baselines", action="store_true", help="without mean motion and the face at rest")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals (default 0)")
    parser.add_argument(
        "--quality",
        type=Path,
        metavar="FILE.md",
        help="write the quality report of one model (default: textalker) as a page, and its figures as FILE.json",
    )
    parser.add_argument(
        "--report", action=OldName, new="--quality", dest="quality", type=Path, default=argparse.SUPPRESS
    )
    parser.add_argument("--corpus", action=OldName, new="--data", dest="data", default=argparse.SUPPRESS)
    parser.add_argument("--model", action=OldName, new="MODEL", dest="old_model")


def run(options: argparse.Namespace) -> int:
    """Judge, write, and say who is best."""
    from parlante.core import InputError

    if options.clips is None:
        options.clips = CLIPS if options.protocol is None else 0
    models = [*options.models, *([] if options.old_model is None else [options.old_model])]
    if options.quality is not None:
        return _quality(options, models)
    if not models:
        raise InputError(
            "which models? name at least one, for example talkingstyle, or a folder of predictions; the quality report "
            "of the shipped model is made with --quality FILE.md"
        )
    if options.data is None:
        raise InputError(f"on which corpus? give --data, for example parlante evaluate {models[0]} --data DATA")
    if options.show < 0:
        raise InputError(f"--show {options.show} is too small; give 0 or more")
    return _evaluate(options, models)


def _evaluate(options: argparse.Namespace, models: list[str]) -> int:
    from parlante.core.files import atomic_folder
    from parlante.core.interruption import interruptible
    from parlante.evaluation.compare import rank, table
    from parlante.evaluation.evaluate import evaluate
    from parlante.evaluation.evaluation import Evaluation
    from parlante.evaluation.files import PredictionFiles
    from parlante.evaluation.predictors import MeanMotion, Static, find_predictor
    from parlante.evaluation.report.page import write_page
    from parlante.evaluation.results import REPORT, save_results

    folders = {"--out": options.out, "--save": options.save, "--videos": options.videos, "--study": options.study}
    _check_apart({name: folder for name, folder in folders.items() if folder is not None})
    evaluation = Evaluation(read_options(options, EvalConfig, data=options.data))
    predictors: list[Any] = [find_predictor(wish, evaluation, options.device) for wish in dict.fromkeys(models)]
    if not options.no_baselines:
        predictors += [MeanMotion(evaluation), Static()]
    with interruptible(), ExitStack() as stack:
        folder, arrays, videos, study = (
            None if path is None else stack.enter_context(atomic_folder(path)) for path in folders.values()
        )
        assert folder is not None
        names = [predictor.name for predictor in predictors]
        keep = PredictionFiles(evaluation, names, arrays, videos, study)
        with _bar("clips x models", len(evaluation.judged) * len(predictors)) as tell:
            result = evaluate(evaluation, predictors, show=options.show, seed=options.seed, progress=tell, keep=keep)
        with _bar("report", 1 + (0 if options.no_video else len(result.shown)), "parts") as tell:
            write_page(
                folder / "report.html",
                evaluation,
                result,
                command=_command(options, models),
                video=not options.no_video,
                progress=tell,
            )
        save_results(result.results, folder / REPORT)
        keep.finish()
    if evaluation.notice:
        print(evaluation.notice)
    ranking = rank(result.results)
    print(f"{ranking.measure.label}, {ranking.unit}, {ranking.clips} clips:")
    for row in table(ranking):
        print("  " + "  ".join(row[:3]))
    print(f"{options.out / 'report.html'} and {options.out / REPORT} written")
    for what, path in (("predictions", options.save), ("videos", options.videos), ("study", options.study)):
        if path is not None:
            print(f"{what} in {path}")
    return 0


def _check_apart(folders: dict[str, Path]) -> None:
    """Raises InputError unless every folder is new and none lies in another."""
    from parlante.core import InputError
    from parlante.core.files import check_new_folder

    for name, folder in folders.items():
        check_new_folder(folder)
        for other, around in folders.items():
            if name != other and folder.resolve().is_relative_to(around.resolve()):
                raise InputError(f"{name} {folder} lies in {other} {around}; give a folder beside it")


def _command(options: argparse.Namespace, models: list[str]) -> str:
    words = ["parlante evaluate", *models, "--data", options.data]
    for name in ("split", "protocol", "regions", "lpips"):
        if getattr(options, name) is not None:
            words += [f"--{name}", str(getattr(options, name))]
    for name in ("train_subjects", "val_subjects", "test_subjects"):
        if getattr(options, name):
            words += [f"--{name.replace('_', '-')}", ",".join(getattr(options, name))]
    return " ".join([*words, "--clips", str(options.clips), "--seed", str(options.seed), "-o", str(options.out)])


def _quality(options: argparse.Namespace, models: list[str]) -> int:
    from parlante.core import InputError

    page: Path = options.quality
    if page.suffix != ".md":
        raise InputError(f"--quality {page}: give a file that ends in .md")
    if len(models) > 1:
        raise InputError(f"--quality is of one model, got {', '.join(models)}; name one")

    from parlante.core.interruption import interruptible
    from parlante.evaluation.quality import CORPUS, quality
    from parlante.evaluation.report.quality import write_report

    model, data = (models or [DEFAULT_MODEL])[0], options.data or str(SYNTHTALK)
    read_options(options, EvalConfig, data=data)  # mistakes are said before anything is written
    with interruptible():
        if options.data is None and not (SYNTHTALK / "index.json").is_file():
            from parlante.synth.corpus import write_corpus

            print(f"writing the corpus {SYNTHTALK}", file=sys.stderr)
            write_corpus(SYNTHTALK, CORPUS["subjects"], CORPUS["sentences"], CORPUS["seed"], jobs=2)
        results = quality(data, model, clips=options.clips, device=options.device, bar=_bar)
    if "recordings" not in results:
        print("recordings of people: skipped, none are at hand (set PARLANTE_SHARED)", file=sys.stderr)
    command = f"parlante evaluate {model} --quality {page.name} --data {data} --clips {options.clips}"
    write_report(page, {**results, "command": command})
    print(f"{page} and {page.with_suffix('.json')} written")
    return 0


@contextmanager
def _bar(what: str, total: int, unit: str = "clips") -> Iterator[Callable[[str], None]]:
    """A progress bar with rate and remaining time, silent where nobody watches; call the result as each clip begins."""
    from tqdm import tqdm

    begun = 0
    with tqdm(total=total, desc=what, unit=f" {unit}", disable=None) as bar:

        def tell(clip: str) -> None:
            nonlocal begun
            bar.set_postfix_str(clip, refresh=False)
            bar.update(begun - bar.n)
            begun += 1

        yield tell
        bar.update(begun - bar.n)
