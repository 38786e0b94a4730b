"""`parlante evaluate`: the quality report."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Measure the shipped model: against the known truth of synthetic speakers, for separation of styles, and on "
        "real recordings where they are at hand ($PARLANTE_SHARED, default ../shared)."
    )
    parser.epilog = (
        "example:\n  parlante evaluate --report docs/quality.md --clips 24\n\n"
        "Writes the corpus it needs to --corpus if there is none yet (training extra: speech synthesis)."
    )
    parser.add_argument(
        "--corpus", type=Path, default=Path("corpora/synthtalk"), metavar="DIR", help="SynthTalk corpus"
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="TexTalker checkpoint (default: the shipped one)")
    parser.add_argument("--clips", type=int, default=40, metavar="N", help="clips to judge per split (default 40)")
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write the page and FILE.json (default: print)")


def run(options: argparse.Namespace) -> int:
    import json

    from parlante.core import InputError

    if options.clips < 1:
        raise InputError(f"--clips {options.clips} is too small; give 1 or more")
    if options.report is not None and options.report.suffix != ".md":
        raise InputError(f"--report {options.report}: give a file that ends in .md")

    from parlante.audio.phonetic import PhoneticEncoder
    from parlante.data.synthtalk import SynthTalk
    from parlante.evaluation.recordings import judge_recordings, shared_folder
    from parlante.evaluation.report import write_report
    from parlante.evaluation.styles import style_separation
    from parlante.evaluation.synthetic import Bench, split_table
    from parlante.models.textalker.talker import TexTalker

    if not (options.corpus / "index.json").is_file():
        from parlante.evaluation import CORPUS
        from parlante.synth.corpus import write_corpus

        print(f"writing the corpus {options.corpus}", file=sys.stderr)
        write_corpus(options.corpus, CORPUS["subjects"], CORPUS["sentences"], CORPUS["seed"], jobs=2)
    talker = TexTalker.from_pretrained(options.model) if options.model else TexTalker.from_pretrained()
    bench = Bench(SynthTalk(options.corpus), talker, PhoneticEncoder.from_pretrained())
    command = f"parlante evaluate --corpus {options.corpus} --clips {options.clips}"
    results: dict[str, Any] = {"command": command}
    for split in ("test_a", "test_b"):
        with _bar(split, options.clips) as tell:
            results[split] = split_table(bench, split, options.clips, progress=tell)
    results["styles"] = style_separation(bench)
    shared = shared_folder()
    if shared is None:
        print("real recordings: skipped, no judge at ../shared (set PARLANTE_SHARED)", file=sys.stderr)
    else:
        with _bar("recordings", len(list((shared / "data" / "speech").glob("*.wav")))) as tell:
            results["recordings"] = judge_recordings(shared, progress=tell)
    if options.report is None:
        print(json.dumps(results, indent=1, sort_keys=True))
    else:
        write_report(options.report, results)
        print(f"{options.report} and {options.report.with_suffix('.json')} written")
    return 0


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar with rate and remaining time, silent where nobody watches; call the result as each clip begins."""
    from tqdm import tqdm

    begun = 0
    with tqdm(total=total, desc=what, unit=" clips", disable=None) as bar:

        def tell(clip: str) -> None:
            nonlocal begun
            bar.set_postfix_str(clip, refresh=False)
            bar.update(begun - bar.n)
            begun += 1

        yield tell
        bar.update(begun - bar.n)
