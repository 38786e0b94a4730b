"""Talkers by name or folder."""

from functools import lru_cache
from pathlib import Path

from parlante.animation.source import Source, unknown_name
from parlante.core import Style
from parlante.models.checkpoint import digest
from parlante.models.embedded import ASSETS, is_embedded, model_name
from parlante.models.embedded import SHIPPED as SMALL
from parlante.models.talker import FAMILIES

SHIPPED = ("textalker", *SMALL)
"""Talkers that come with the package; the first is the default."""


def find_source(wish: Source | str | Path | None) -> Source:
    """A talker: the shipped one of that name (none: TexTalker), a checkpoint folder, or as given.

    Folders are those of trainings and of `parlante convert`. Raises InputError for anything else.
    """
    if wish is None or str(wish) == "textalker":
        from parlante.animation.textalker import TexTalkerSource

        return TexTalkerSource.shared()
    if not isinstance(wish, str | Path):
        return wish
    if str(wish) in SMALL:
        return _small(str(wish))
    folder = Path(wish)
    if not folder.exists() and isinstance(wish, str) and "/" not in wish:
        raise unknown_name("model", wish, SHIPPED)
    name = model_name(folder)
    if name == "textalker":
        from parlante.animation.textalker import TexTalkerSource

        return TexTalkerSource.load(folder)
    if name == "textalker-released":
        from parlante.animation.released_textalker import ReleasedTexTalkerSource

        return ReleasedTexTalkerSource.load(folder)
    if name in FAMILIES and not is_embedded(folder):
        from parlante.animation.released import ReleasedSource

        return ReleasedSource.load(folder)
    from parlante.animation.vertex import VertexSource

    return VertexSource.load(folder)


def shipped_model(style: Style) -> str:
    """Name of the shipped talker that a style belongs to; empty: it belongs to a folder, or does not say to whom."""
    if style.model not in SHIPPED or (style.checkpoint and style.checkpoint != _digest(style.model)):
        return ""
    return style.model


@lru_cache
def _digest(name: str) -> str:
    return digest(ASSETS / name)


@lru_cache(maxsize=4)
def _small(name: str) -> Source:
    from parlante.animation.vertex import VertexSource

    return VertexSource.load(name)
