"""The key reference: every stage, section and key of recipes, with type, default and meaning, as Markdown; and what one
recipe turns on."""

from collections.abc import Iterable, Mapping
from typing import Any

from parlante.training.engine.schema import Key, reference, shown
from parlante.training.engine.stage import Stage


def recipe_reference(stages: Iterable[Stage]) -> str:
    """Markdown: a heading for each stage, a table for each of its sections. A table that came before is named only."""
    parts: list[str] = []
    seen: dict[tuple[Key, ...], str] = {}
    for stage in stages:
        parts += [f"## {stage.name}", stage.about, *_corpora(stage)]
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


def _corpora(stage: Stage) -> list[str]:
    """A line on the corpora that a stage takes."""
    if stage.corpora is None:
        return []
    return [f"Takes {stage.corpora.about}{stage.corpora.instead and f'; {stage.corpora.instead}'}."]


def describe(stage: Stage, config: Mapping[str, Any]) -> str:
    """What a recipe says of every key, its own values and the defaults, with their meanings; weights of losses that are
    0 are off. Raises InputError for a recipe that cannot be used, but for keys that it leaves to the command line."""
    filled = {name: dict(config.get(name) or {}) for name in stage.sections}
    missing = [
        (name, key.name)
        for name, section in stage.sections.items()
        for key in reference(section)
        if not key.default and key.type == "text" and key.name not in filled[name]
    ]
    for name, key in missing:
        filled[name][key] = "FOLDER"
    stage.read({**config, **filled})
    lines = [f"{stage.name}: {stage.about}", *_corpora(stage)]
    for name, section in stage.sections.items():
        lines += ["", f"{name}:"]
        for row in reference(section):
            given = row.name in filled[name]
            value = shown(filled[name][row.name]) if given else row.default
            if (name, row.name) in missing:
                value = "to be given"
            off = name == "loss" and value in ("0", "0.0")
            source = "" if given else " (default)"
            lines.append(f"  {row.name} = {value}{' (off)' if off else ''}{source}: {row.meaning}")
    return "\n".join(lines) + "\n"
