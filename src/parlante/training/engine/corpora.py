"""Which corpora a stage takes; said by `parlante train --describe` and checked before anything is made."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from parlante.core import InputError
from parlante.data.contract import Corpus
from parlante.data.open import open_corpus


@dataclass(frozen=True, kw_only=True)
class Corpora:
    """A kind of corpora."""

    about: str
    """In words, after "takes"."""
    fits: Callable[[Corpus], bool]
    instead: str = ""
    """What to do with other corpora, in words."""

    def otherwise(self, instead: str) -> "Corpora":
        """The same kind, with what to do with others."""
        return replace(self, instead=instead)

    def check(self, stage: str, path: Path | str) -> None:
        """Raises InputError for a corpus that the stage does not take."""
        corpus = open_corpus(path)
        if not self.fits(corpus):
            kind = "weights of the embedded head" if corpus.has_weights else "meshes of its own"
            raise InputError(
                f"{path} ({corpus.dataset}) has {kind}; the stage {stage} takes {self.about}"
                + (f"; {self.instead}" if self.instead else "")
            )


ANY = Corpora(about="any corpus: SynthTalk, or meshes of its own", fits=lambda corpus: True)
SYNTHTALK = Corpora(
    about="SynthTalk corpora, which parlante synth writes: weights of the embedded head",
    fits=lambda corpus: corpus.has_weights,
)
MESHES = Corpora(
    about="corpora on a mesh of their own: published datasets, own recordings",
    fits=lambda corpus: not corpus.has_weights,
)
