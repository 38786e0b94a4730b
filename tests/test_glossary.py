"""One word per concept: names that users and newcomers meet are the field's own, in code, options and recipes.

docs/reference/renames.md lists old names that users met. Ordinary English in sentences, wire formats, folders of
datasets, weights of checkpoints and published names are free; old names that still work stand in
`parlante.core.renames`.
"""

import argparse
import ast
import importlib
import re
from pathlib import Path

import pytest

import parlante
from parlante.cli import COMMANDS
from parlante.core.renames import RENAMED

SOURCE = Path(parlante.__file__).parent
OLD = {
    "bench": "evaluation", "dressed": "baked", "ear": "speech encoder", "exam": "evaluation", "examine": "evaluate",
    "examination": "evaluation",  "hear": "encode_audio or load_audio",
    "heard": "features", "hearing": "augmented view", "life": "liveliness", "listen": "encode_audio",
    "listener": "JointSpeechModel", "manner": "speaker profile, speaking style", "outcome": "result",
    "perform": "animate, run", "recast": "retarget", "released": "reference or import_", "rounded": "half precision",
    "sound": "audio", "surroundings": "TalkerMetadata", "taps": "frame_offsets", "told": "style_condition",
    "unheard": "audio_dropout", "voiced": "add_voice_style", "worn": "merged",
}  # fmt: skip
"""Word within a name -> what it is called now."""
WHOLE = {
    "Take": "AnimationInfo", "Chunk": "FrameBlock", "Window": "FrameBlock", "Motion": "FrameBlock", "Source": "Talker",
    "Speaker": "ModelPredictor", "Place": "StorageRoot", "Layout": "FolderDataset", "Choice": "EvalConfig",
    "Case": "EvalClip", "Prepared": "PackedCorpus", "own_past": "scheduled_sampling", "style_code": "style_embedding",
    "fast_vqgan": "cpu_vqgan", "four_phases": "upsample_kernels", "variants": "num_augmentations", "ahead": "prefetch",
    "test_a": "test_seen", "test_b": "test_unseen", "own": "folder", "makes": "outputs", "wish": "the thing itself",
    "latents_given": "complete_latents", "FeedbackModel": "AutoregressiveModel",
    "FeedbackConfig": "AutoregressiveConfig",
}  # fmt: skip
"""Name of a class, function, option or recipe key -> what it is called now."""
MODULES = {
    "memory": "kv_cache", "rows": "skinny_matmul", "prefix": "incremental_decoder", "wide": "skinny_matmul",
    "blocks": "chunked_inference", "sources": "registry", "stages": "postprocess", "own": "folder",
    "prepared": "packed_corpus", "place": "storage_root", "published": "reference", "fold": "fuse_feedback",
    "given": "completion", "cases": "clips", "synthetic": "evaluate",
}  # fmt: skip
"""Name of a file -> what it is called now."""
FREE = {
    "core/memory.py": {"memory"},  # of the process
    "export/rows.py": {"rows"},  # of a growing table
    "head/rig.py": {"Layout"},  # of the embedded head's mesh
    "retarget/mesh/character.py": {"own"},  # vertices that the user brought
}
"""File -> names in it that mean something else."""


def words(name: str) -> set[str]:
    """The words of a snake_case, kebab-case or CamelCase name."""
    return {
        word.lower()
        for part in re.split(r"[_\-./]", name)
        for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part)
    }


def old_words(name: str) -> list[str]:
    """What of a name is old, and its new word."""
    found = [f"{word} -> {OLD[word]}" for word in words(name) & OLD.keys()]
    return found + ([f"{name} -> {WHOLE[name]}"] if name in WHOLE else [])


def test_old_words_are_seen() -> None:
    assert old_words("--life") and old_words("hear_it") and old_words("Take") and old_words("EarModel")
    assert not old_words("linear") and not old_words("intake") and not old_words("early")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_classes_and_functions(path: Path) -> None:
    place = str(path.relative_to(SOURCE))
    stem = path.stem.strip("_")
    assert stem not in MODULES or stem in FREE.get(place, ()), f"{place} is now called {MODULES[stem]}"
    names = [stem]
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            names.append(node.name)
        if isinstance(node, ast.ClassDef):
            names += [part.name for part in node.body if isinstance(part, ast.FunctionDef) and part.name[0] != "_"]
    found = {name: old for name in names if name not in FREE.get(place, ()) and (old := old_words(name))}
    assert not found, f"{place}: {found}"


def options(parser: argparse.ArgumentParser) -> list[str]:
    """All options and commands that a parser shows."""
    found: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                found += [name, *options(sub)]
        elif action.help != argparse.SUPPRESS:
            found += action.option_strings or [action.metavar or action.dest]
    return [str(each) for each in found]


@pytest.mark.parametrize("command", COMMANDS)
def test_options(command: str) -> None:
    parser = argparse.ArgumentParser()
    importlib.import_module(COMMANDS[command][0]).configure(parser)
    aliases = {old.split()[-1] for old in RENAMED["command"]}
    shown = set(options(parser)) - RENAMED["option"].keys() - aliases
    found = {name: old for name in shown if (old := old_words(name))}
    assert not found, f"parlante {command}: {found}"
