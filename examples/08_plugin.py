"""Add a model, a dataset and a file format from a package of one's own.

The package stands in `examples/plugin`: a model family in 70 lines, a dataset, a format, and the three entry points in
its `pyproject.toml`. After `pip install examples/plugin` they are in every command: `parlante prepare toy-waves`,
`parlante train examples/plugin/recipe.yaml`, `-o talk.toy.txt`. This script lists what is there.
"""

from parlante.data.registry import datasets
from parlante.export.formats import formats
from parlante.models.registry import families


def main() -> None:
    """Print the names behind the three doors; those of plug-ins stand after ours."""
    print("families:", ", ".join(families()))
    print("datasets:", ", ".join(datasets()))
    print("formats:", ", ".join(formats()))


if __name__ == "__main__":
    main()
