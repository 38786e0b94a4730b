"""Pages of the documentation site that are made from the code while it is built, so that they cannot fall behind it.

`mkdocs.yml` names this file as a hook. A page of `docs/` may hold `{{ name }}`, which the table `INSERTS` fills in;
whole pages are in `PAGES`. Nothing here needs mkdocs until the site is built, so tests call the functions directly.
"""

import argparse
import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def command_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one subcommand, as `parlante NAME` declares it."""
    from parlante.cli import COMMANDS

    parser = argparse.ArgumentParser(
        prog=f"parlante {name}", formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=100)
    )
    importlib.import_module(COMMANDS[name][0]).configure(parser)
    return parser


def cli_page() -> str:
    """Every command with its options, read off the parsers."""
    from parlante.cli import COMMANDS

    lines = [
        "# Command line",
        "",
        "Made from the parsers of the commands: what `parlante COMMAND --help` says.",
        "",
    ]
    lines += ["| command | what it does |", "| --- | --- |"]
    lines += [f"| [`{name}`](#parlante-{name}) | {_cell(line)} |" for name, (_, line) in COMMANDS.items()]
    lines += [
        "",
        "Bad input gives one line on stderr and exit code 2; an interrupted command exits with 130.",
        "Output files appear whole or not at all.",
        "",
    ]
    for name, (_, line) in COMMANDS.items():
        lines += [f"## parlante {name}", "", f"{line[0].upper()}{line[1:]}.", "", *_command(command_parser(name), 3)]
    return "\n".join(lines)


def _command(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    """Usage, options, examples, then the commands below this one."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    usage = parser.format_usage().removeprefix("usage: ").rstrip()
    yield from ["```text", inspect.cleandoc(usage), "```", ""]
    rows = [action for action in parser._actions if action not in nested and action.help != argparse.SUPPRESS]
    rows = [action for action in rows if not isinstance(action, argparse._HelpAction)]
    if rows:
        yield from ["| option | meaning |", "| --- | --- |"]
        yield from (f"| {_option(action)} | {_cell(_help(parser, action))} |" for action in rows)
        yield ""
    if parser.epilog:
        yield from ["```text", parser.epilog.rstrip(), "```", ""]
    for action in nested:
        lines = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, sub in action.choices.items():
            sub.epilog = None if sub.epilog == parser.epilog else sub.epilog
            yield from [f"{'#' * level} {sub.prog}", "", f"{_sentence(lines.get(name, ''))}", ""]
            yield from _command(sub, min(level + 1, 6))


def _option(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    value = " ".join(value) if isinstance(value, tuple) else value
    if action.choices and not action.metavar:
        value = ", ".join(map(str, action.choices))
    words = [f"`{name}`" for name in action.option_strings]
    if not words:
        return f"`{value}`" + (" ..." if action.nargs in ("+", "*") else "")
    return ", ".join(words) + ("" if action.nargs == 0 else f" `{_escape(value)}`")


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def _cell(text: str) -> str:
    """Text for a cell of a table: one line, no tags."""
    text = " ".join(text.split())
    text = re.sub(r"(?<![`\w])(--?[a-z][\w-]*)", r"`\1`", text) if "`" not in text else text
    return _escape(text).replace("<", "&lt;").replace("*", "\\*")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def public_page() -> str:
    """What `import parlante` offers, each with its docstring."""
    import parlante

    lines = []
    for name in sorted(set(parlante.__all__) - {"__version__"}, key=str.lower):
        thing = getattr(parlante, name)
        module, attribute = thing.__module__, thing.__qualname__
        lines += [f"## `parlante.{name}` {{ #parlante.{name} }}", "", f"::: {module}.{attribute}"]
        lines += ["    options:", "      show_root_heading: false", "      show_root_toc_entry: false"]
        lines += ["      heading_level: 3", ""]
    return "\n".join(lines)


def renames_table() -> str:
    """Old names and the new ones."""
    from parlante.core.renames import RENAMED

    lines = ["| kind | old | new |", "| --- | --- | --- |"]
    for kind, table in RENAMED.items():
        lines += [f"| {kind} | `{old}` | `{_escape(new)}` |" for old, new in sorted(table.items())]
    return "\n".join(lines)


def families_table() -> str:
    """The model families."""
    from parlante.models.registry import families

    lines = ["| name | source | weights in the package | reads released files |", "| --- | --- | --- | --- |"]
    for spec in families().values():
        yes = ["yes" if each else "no" for each in (spec.shipped, spec.importer)]
        page = spec.name if (ROOT / "docs" / "models" / f"{spec.name}.md").is_file() else spec.name.split("-")[0]
        lines.append(f"| [`{spec.name}`]({page}.md) | {spec.title} | {yes[0]} | {yes[1]} |")
    return "\n".join(lines)


def formats_table() -> str:
    """What can be written, by suffix."""
    from parlante.export.formats import formats

    lines = ["| suffix | what | needs ARKit weights | needs triangles | shows the skin | reads back |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    rows: dict[str, list[str]] = {}
    for suffix, spec in formats().items():
        rows.setdefault(spec.name, []).append(f"`{'NAME' * (suffix[-1] == '/')}{suffix}`")
    for spec in dict.fromkeys(formats().values()):
        flags = (spec.needs_weights, spec.needs_triangles, spec.shows_skin, bool(spec.loader))
        answers = " | ".join("yes" if flag else "" for flag in flags)
        lines.append(f"| {' '.join(rows[spec.name])} | {_cell(spec.description)} | {answers} |")
    return "\n".join(lines)


def datasets_table() -> str:
    """The datasets that can be read."""
    from parlante.data.registry import datasets

    lines = [
        "| name | what is read | frames a second | unit | packed by `parlante prepare` |",
        "| --- | --- | --- | --- | --- |",
    ]
    for spec in datasets().values():
        packed = "yes" if spec.prepares else ""
        lines.append(f"| `{spec.name}` | {_cell(spec.title)} | {_cell(spec.rate)} | {_cell(spec.unit)} | {packed} |")
    return "\n".join(lines)


def recipe_keys() -> str:
    """Every stage, section and key of recipes."""
    from parlante.training import recipe_keys

    return recipe_keys()


def examples_page() -> str:
    """The numbered scripts of `examples/`: their docstrings, then their code."""
    lines = ["# Examples", "", "Each is a file of `examples/`; a test runs every one of them.", ""]
    for path in sorted(EXAMPLES.glob("[0-9]*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        first, _, rest = (ast.get_docstring(tree) or "").partition("\n")
        body = text.split("\n", tree.body[0].end_lineno or 0)[-1].strip("\n")
        lines += [f"## {path.stem[:2]}: {first.rstrip('.')}", "", rest.strip(), ""]
        lines += [f'```python title="examples/{path.name}"', body, "```", ""]
    return "\n".join(lines)


def source_map() -> str:
    """Every file of the package with the first line of its docstring."""
    source = ROOT / "src" / "parlante"
    lines = ["# Source map", "", "Every file of `src/parlante`, and the first line of its docstring.", ""]
    for room in sorted(
        path for path in source.iterdir() if path.is_dir() and path.name not in ("assets", "__pycache__")
    ):
        lines += [f"## {room.name}", "", "| file | what |", "| --- | --- |"]
        for path in sorted(room.rglob("*.py")):
            said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            if said:
                lines.append(f"| `{path.relative_to(source)}` | {_escape(said.splitlines()[0]).replace('<', '&lt;')} |")
        lines.append("")
    return "\n".join(lines)


def outside(path: str) -> Callable[[], str]:
    """A page whose source stands outside `docs/`."""
    return lambda: (ROOT / path).read_text(encoding="utf-8")


PAGES: dict[str, Callable[[], str]] = {
    "reference/cli.md": cli_page,
    "examples.md": examples_page,
    "design/source-map.md": source_map,
    "design/contributing.md": outside("CONTRIBUTING.md"),
    "design/changelog.md": outside("CHANGELOG.md"),
}
"""Address in the site -> what makes the page."""
INSERTS: dict[str, Callable[[], str]] = {
    "public": public_page,
    "renames": renames_table,
    "families": families_table,
    "formats": formats_table,
    "datasets": datasets_table,
    "recipe_keys": recipe_keys,
}
"""Name in `{{ name }}` -> what makes the text."""


def filled(markdown: str) -> str:
    """A page with its `{{ name }}` and `{{ file PATH }}` filled in. Raises KeyError for a name that nothing makes."""
    markdown = re.sub(r"^\{\{ file (\S+) \}\}$", lambda found: _file(found[1]), markdown, flags=re.MULTILINE)
    return re.sub(r"^\{\{ (\w+) \}\}$", lambda found: INSERTS[found[1]](), markdown, flags=re.MULTILINE)


def _file(path: str) -> str:
    """A file of the repository as a block of code."""
    language = {".py": "python", ".toml": "toml", ".yaml": "yaml"}[Path(path).suffix]
    return f'```{language} title="{path}"\n{(ROOT / path).read_text(encoding="utf-8").rstrip()}\n```'


def external_requests(html: str) -> list[str]:
    """Addresses that a browser would fetch from elsewhere when it shows a page."""
    tags = re.findall(r"<(?:script|link|img|iframe|source|video)\b[^>]*>", html)
    return [tag for tag in tags if re.search(r"(?:src|href)=[\"']?(?:https?:)?//", tag) and "canonical" not in tag]


def on_files(files: Any, config: Any) -> Any:
    """mkdocs: add the pages that are made here."""
    from mkdocs.structure.files import File

    for address, make in PAGES.items():
        files.append(File.generated(config, address, content=make()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """mkdocs: fill in what a page asks for."""
    return filled(markdown)


def on_post_build(config: Any) -> None:
    """mkdocs: the site must not fetch anything from elsewhere."""
    from mkdocs.exceptions import PluginError

    for path in sorted(Path(config["site_dir"]).rglob("*.html")):
        if found := external_requests(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path.name} would fetch from elsewhere: {found[0]}")
