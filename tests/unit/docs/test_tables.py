"""The pages name what there is: every command, every option, every error."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

from colabkit import cli, errors, runtime
from tests.unit.docs.pages import ROOT, blocks, run_blocks

SECTION = re.compile(r"^## (\S+)\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| <a id=\"\w+\"></a>`(\w+Error)` \| (\d+) \| `(\w+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def _words(text: str) -> str:
    return " ".join(text.split())  # Pythons wrap help at different places


def test_the_commands_are_those_of_the_page():
    """The page lists the commands in the order of `colabkit --help`, with its words, and has a section for each."""
    page = _page("cli.md")
    assert re.findall(r"^\| \[`(\S+)`\]\(#\S+\) \| (.+) \|$", page, re.MULTILINE) == list(cli.COMMANDS.items())
    assert [name for name, _ in SECTION.findall(page)] == list(cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_the_help_of_a_command_is_on_the_page(command: str):
    """The section of a command holds its description, its example, and each argument with its help."""
    section = _words(dict(SECTION.findall(_page("cli.md")))[command])
    module = importlib.import_module(f"colabkit.cli.{command}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    assert _words(module.__doc__) in section
    assert all(example in section for example in cli.examples(module))
    formatter = parser._get_formatter()
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    actions = [each for group in groups for one in group.choices.values() for each in one._actions]
    actions += [action for action in parser._actions if action not in groups]
    for action in actions:
        for option in action.option_strings or [action.metavar or action.dest]:
            assert re.search(rf"(?<!\S){re.escape(str(option))}[ ,]", section)
        assert _words(formatter._expand_help(action)) in section


def test_the_hosts_are_those_of_the_page():
    """The page lists every host that a file of colabkit.runtime can name, and no other."""
    source = "".join(path.read_text(encoding="utf-8") for path in Path(runtime.__file__).parent.glob("hosts/*.py"))
    named = set(re.findall(r'\bhost="(\w+)"', source))
    page = _page("runtime.md").partition("| `runtime.host` |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == named


def test_the_errors_are_those_of_the_page():
    """The page lists every class once with its exit code, a builtin it really is, and its own docstring."""
    rows = ROW.findall(_page("errors.md"))
    for name, *_ in rows:
        assert getattr(errors, name)("it failed").more == f"docs/errors.md#{name.lower()}"
        assert f'<a id="{name.lower()}"></a>`{name}`' in _page("errors.md")
    actual = [(name, int(code), meaning) for name, code, _, meaning, _ in rows]
    classes = [getattr(errors, name) for name in errors.__all__]
    by_code = sorted(classes, key=lambda kind: kind.exit_code)
    assert actual == [(kind.__name__, kind.exit_code, kind.__doc__.splitlines()[0]) for kind in by_code]
    for name, _, builtin, _, _ in rows:
        kind = getattr(errors, name)
        assert builtin in [base.__name__ for base in kind.__mro__ if base.__module__ == "builtins"]


def test_each_error_has_a_cause_and_a_cure_of_its_own():
    """Both are sentences, and only a class that stands for others sends its reader to the message."""
    rows = {name: (cause, cure) for name, _, _, cause, cure in ROW.findall(_page("errors.md"))}
    for name, (cause, cure) in rows.items():
        assert cause[0].isupper(), name
        assert cause.endswith("."), name
        assert cure[0].isupper() or cure[0] == "`", name
        assert cure.endswith("."), name
        if "last line" in cure:
            assert getattr(errors, name).__subclasses__(), name
    cures = [cure for _, cure in rows.values()]
    assert len(cures) == len(set(cures))


def test_what_to_write_instead_is_executed():
    """Each line of colabkit that a table of the migration page shows stands in a block that is run."""
    page = ROOT / "docs" / "migrate.md"
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", _page(page.name), re.MULTILINE)
    shown = [right for _, right in rows if right.startswith("`")]
    executed = "".join(block.text for block in run_blocks(page))
    untested = [right for right in shown if right.strip("`") not in executed]
    assert untested == [
        "`ck.drive.unmount()` (tested on a double of Colab, not here)",
        "`ck.install` of the package's wheel, where it has one",
    ]
    assert len(shown) > 25


@pytest.mark.parametrize("name", ["quickstart.zh.md", "train.zh.md", "resume.zh.md", "fetch.zh.md", "errors.zh.md"])
def test_a_chinese_page_has_the_parts_of_its_english_one(name: str):
    """As many headings of each depth and rows of tables, and the same code; so neither falls behind."""
    chinese, english = _page(name), _page(name.replace(".zh", ""))

    def shape(text: str) -> tuple[list[str], int]:
        headings = re.findall(r"^(#+) ", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
        return headings, len(re.findall(r"^\|", text, re.MULTILINE))

    assert shape(chinese) == shape(english)
    code = [[block.text for block in blocks(ROOT / "docs" / one)] for one in (name, name.replace(".zh", ""))]
    assert code[0] == code[1]


def test_the_chinese_readme_shows_the_same_code_and_the_same_calls():
    """Its blocks are those of README.md, comments aside, and so is the first column of its table."""

    def code(path: Path) -> list[str]:
        return [re.sub(r"  # .*", "", block.text) for block in blocks(path)]

    def calls(path: Path) -> list[list[str]]:
        rows = re.findall(r"^\| (`.+?) \| .+ \|$", path.read_text(encoding="utf-8"), re.MULTILINE)
        return [re.findall(r"`[^`]+`", row) for row in rows]

    readme, chinese = ROOT / "README.md", ROOT / "docs" / "README.zh.md"
    assert code(chinese) == code(readme)
    assert calls(chinese) == calls(readme)
    assert calls(readme)
