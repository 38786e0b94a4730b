"""Every public name resolves, is documented, and says what each of its parameters is."""

import importlib
import inspect
from pathlib import Path

import pytest

import parlante

SOURCE = Path(parlante.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if path.name != "__main__.py"
)


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_exports_is_there(name: str) -> None:
    pytest.importorskip("lightning") if ".training." in name else None
    module = importlib.import_module(name)
    missing = [each for each in getattr(module, "__all__", ()) if not hasattr(module, each)]
    assert not missing, f"{name}.__all__ names {missing}"
    assert module.__doc__ or not Path(str(module.__file__)).read_text().strip(), f"{name} says nothing about itself"


@pytest.mark.parametrize("name", [name for name in parlante.__all__ if name != "__version__"])
def test_public_names_are_documented(name: str) -> None:
    thing = getattr(parlante, name)
    assert inspect.getdoc(thing), f"parlante.{name} has no docstring"
    members = vars(thing).items() if inspect.isclass(thing) else [(name, inspect.unwrap(thing))]
    for key, member in members:
        function = getattr(member, "__func__", member)
        if not inspect.isfunction(function) or (key.startswith("_") and key != "__call__"):
            continue
        words = inspect.getdoc(function) or ""
        assert words, f"{function.__qualname__} has no docstring"
        parameters = [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]
        family = inspect.getdoc(parlante.Talker.__call__) or ""
        unsaid = [each for each in parameters if each not in words and each not in family]
        assert len(parameters) < 3 or not unsaid, f"{function.__qualname__} says nothing of {unsaid}"


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = parlante.no_such_name


def test_the_types_are_shipped() -> None:
    assert (SOURCE / "py.typed").is_file()
