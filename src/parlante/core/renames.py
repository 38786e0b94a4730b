"""Old names that still work for one release, and the names that replace them."""

import sys

RENAMED: dict[str, dict[str, str]] = {
    "option": {
        "--life": "--liveliness",
        "--no-liveliness": "--liveliness none",
        "--motion curves": "--motion weights",
        "evaluate --report": "evaluate --quality",
        "evaluate --corpus": "evaluate --data",
        "evaluate --model": "evaluate MODEL",
    },
    "command": {"bulk": "batch", "prepare own": "prepare folder"},
    "recipe key": {
        "model.family": "stage",
        "model.autoencoder": "data.autoencoder",
        "corpus": "data.corpus",
        "more": "data.more",
        "valid": "data.valid",
        "hours": "data.hours",
        "seconds": "data.seconds",
        "strength": "data.strength",
        "network": "model",
        "data.variants": "data.num_augmentations",
        "data.taps": "data.frame_offsets",
        "scheme.taps": "scheme.frame_offsets",
        "scheme.own_past": "scheme.scheduled_sampling",
        "scheme.unheard": "scheme.audio_dropout",
        "scheme.given": "scheme.completion",
        "scheme.makes": "scheme.outputs",
        "scheme.style": "scheme.style_condition",
        "batch": "scheme.batch",
        "weight_decay": "scheme.weight_decay",
        "closure_weight": "scheme.closure_weight",
        "start_from": "scheme.start_from",
        "steps": "loop.max_steps",
        "learning_rate": "loop.lr",
        "average": "loop.ema",
        "checkpoint_every": "loop.save_every",
        "threads": "loop.threads",
        "seed": "loop.seed",
    },
    "config key": {"taps": "frame_offsets", "trained_given": "trained_completion"},
    "python": {"source": "model"},
    "split": {"test_a": "test_seen", "test_b": "test_unseen"},
}
"""kind -> old name -> new name. docs/reference/renames.md is made from it."""

_said: set[tuple[str, str]] = set()


def renamed(kind: str, old: str) -> str | None:
    """The new name of `old`, or none where it is not an old name. Raises KeyError for an unknown kind."""
    return RENAMED[kind].get(old)


def notice(kind: str, old: str, new: str, example: str | None = None) -> None:
    """Say once per process, in one line on stderr, that a name is old; `example`: what to type instead of it."""
    if (kind, old) not in _said:
        _said.add((kind, old))
        what = "argument" if kind == "python" else kind
        change = f"is now called {new}" if example is None else f"is not needed any more, type: {example}"
        sys.stderr.write(f"parlante: the {what} {old} {change}; the old name works until the next release\n")
