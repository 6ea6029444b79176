"""The shape of the package: no import circles, no import of a module that is not there, and the field's words."""

from __future__ import annotations

import ast
import collections

import pytest

from tests.benchmarks import house

MODULES = house.modules()


def test_no_module_imports_itself_by_way_of_others():
    """Imports, also those for types and within functions, lead down; the doubles of `testing` may be in circles."""
    assert len(MODULES) > 100
    rings = house.circles(house.imports(MODULES))
    assert [ring for ring in rings if not ring[0].startswith("colabkit.testing")] == []


@pytest.mark.parametrize("folder", ["colabkit", "tests", "examples"])
def test_each_import_of_ours_finds_a_module(folder):
    """Nothing imports a module that was moved or deleted, not even where it is imported late."""
    top = house.PACKAGE if folder == "colabkit" else house.ROOT / folder
    assert top.is_dir()
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    missing = []
    for path in (path for path in sorted(top.rglob("*.py")) if "doubles" not in path.parts):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
                if node.module in packages and node.module.startswith("colabkit._"):  # its names are modules
                    names += [f"{node.module}.{alias.name}" for alias in node.names if alias.name.islower()]
            ours = [name for name in names if name == "colabkit" or name.startswith("colabkit.")]
            missing += [f"{path.relative_to(top)}:{node.lineno} {name}" for name in ours if not _is_there(name)]
    assert missing == []


def _is_there(name: str) -> bool:
    if name in MODULES:
        return True
    parent, _, last = name.rpartition(".")
    return parent in MODULES and last in MODULES[parent].read_text(encoding="utf-8")


def test_no_class_is_longer_or_wider_than_one_can_hold_in_mind():
    """A class of more than 250 lines, or of more than 15 attributes, has two jobs."""
    classes = house.classes(MODULES)
    assert [(name, lines) for lines, _, name in classes if lines > 250] == []
    assert [(name, attributes) for _, attributes, name in classes if attributes > 15] == []


# The commands of `colabkit` have a file each, so that a reader of `cli/` guesses it from what he types.
CROWDED = {"colabkit/cli": 21}


def test_no_folder_is_crowded():
    """A folder has at most 14 files side by side."""
    files = collections.Counter(str(path.parent.relative_to(house.PACKAGE.parent)) for path in MODULES.values())
    assert {folder: count for folder, count in files.items() if count > CROWDED.get(folder, 14)} == {}


# What this package once called its things, before it took the field's words; none of them comes back.
PRIVATE_WORDS = (
    "Belongings Claim Crew Dialect Need Occasions Pace PassedOver Phases PrefixHash Sheet SideHash Spans Spare Spot "
    "Surveyed TakenError Together Verdict Wanted _ASKED _DIALECT _Departure _Overheard _Piece _belongings _claim "
    "_crew _grow _hire _stumble belongings built_for claim crew dialect first_contact luggage spot thin took found "
    "newest_good open_alone patiently proven put_together share_out side_by_side staged superseded take_away "
    "tell_failures too_busy too_old translating unpublished whole_of writing_to"
)


def test_names_are_the_fields_words():
    """No class, function, argument or local variable of colabkit has a name of the old private dialect."""
    private = frozenset(PRIVATE_WORDS.split())
    used = [
        f"{module}:{line} {name}"
        for module, path in MODULES.items()
        if module.startswith("colabkit")
        for line, name in sorted(_names_given(ast.parse(path.read_text(encoding="utf-8"))))
        if name in private
    ]
    assert used == []


# Words that still stand for a noun here and there. Their number only falls: who takes one away lowers it.
VAGUE_WORDS = frozenset(("asked", "gone", "known", "one", "said", "shown", "there", "told", "wanted", "whole"))
VAGUE_NAMES = 280


def test_names_say_what_they_hold():
    """A name is the noun of what it holds; those that are a participle or a pronoun do not become more."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items() if name.startswith("colabkit")
    ]
    count = sum(name.strip("_") in VAGUE_WORDS for tree in trees for _, name in _names_given(tree))
    assert count <= VAGUE_NAMES


def _names_given(tree: ast.Module) -> set[tuple[int, str]]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bound = [node for function in functions for node in ast.walk(function) if isinstance(node, ast.Name)]
    return (
        {(node.lineno, node.name) for node in (*functions, *classes)}
        | {(node.lineno, node.arg) for node in ast.walk(tree) if isinstance(node, ast.arg)}
        | {(node.lineno, node.id) for node in bound if isinstance(node.ctx, ast.Store)}
    )
