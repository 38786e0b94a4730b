"""The key reference: every stage, section and key of recipes, with type, default and meaning, as Markdown."""

from collections.abc import Iterable

from parlante.training.engine.schema import Key, reference
from parlante.training.engine.stage import Stage


def recipe_reference(stages: Iterable[Stage]) -> str:
    """Markdown: a heading for each stage, a table for each of its sections. A table that came before is named only."""
    parts: list[str] = []
    seen: dict[tuple[Key, ...], str] = {}
    for stage in stages:
        parts += [f"## {stage.name}", stage.about]
        for name, section in stage.sections.items():
            keys = tuple(reference(section))
            if keys in seen:
                parts.append(f"`{name}`: as [`{name}` of {seen[keys]}](#{seen[keys]}).")
                continue
            seen[keys] = stage.name
            parts += [f"`{name}`", _table(keys)]
    return "\n\n".join(parts) + "\n"


def _table(keys: Iterable[Key]) -> str:
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key in keys:
        default = f"`{key.default}`" if key.default else "required"
        rows.append(f"| `{key.name}` | {key.type} | {default} | {key.meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)
