"""How Sphinx builds these pages: Markdown by MyST, the reference from the docstrings, no network."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# Last, so that an installed wheel is documented where there is one, and the checkout otherwise.
sys.path.append(str(Path(__file__).parents[1]))

from sphinx.util.inspect import signature as sphinx_signature
from sphinx.util.inspect import stringify_signature

from colabkit._version import __version__

project = "colabkit"
author = "the colabkit authors"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"colabkit {version}"
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 3
autodoc_member_order = "bysource"
# As written: the value of `env=os.environ` is the environment of whoever builds this, keys and all.
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# Docstrings are written to be read in a notebook: `name` is code there, as in Markdown.
default_role = "literal"

_FENCE = re.compile(r"^(\s*)```(\w*)$")


def _fences_to_blocks(_app, _what, _name, _obj, _options, lines):
    """Turn the Markdown fences of a docstring into what autodoc reads."""
    result, closing, indent = [], False, ""
    for line in lines:
        if fence := _FENCE.match(line):
            closing = not closing
            indent = fence[1]
            result += [f"{indent}.. code-block:: {fence[2] or 'text'}", ""] if closing else [""]
        else:
            result.append(f"   {line}" if closing and line else line)
    lines[:] = result


# What tests put in for the machine around a function: no user passes it.
_AMBIENT = {"env", "root", "shell", "cwd", "clock", "sleep"}
_BUILT_BY_USERS = ("colabkit.testing.", "colabkit.models.Classifier", "colabkit.models.ImageData")
_ARGUMENT = re.compile(r"^:(?:param|type) (?:\S+ )?(\w+):")


def _public_signature(_app, what, name, obj, _options, signature, returns):
    """Show what a user may pass; classes that the library makes itself show no constructor at all."""
    if what == "class" and not name.startswith(_BUILT_BY_USERS):
        return "", None
    if what not in ("function", "method") or signature is None:
        return None
    try:
        told = sphinx_signature(obj, bound_method=what == "method")
    except (TypeError, ValueError):
        return None
    kept = [one for key, one in told.parameters.items() if key not in _AMBIENT and key != "self"]
    shown = stringify_signature(told.replace(parameters=kept), unqualified_typehints=True, show_return_annotation=False)
    return shown, returns


def _without_ambient(_app, what, _name, _obj, _options, lines):
    """Leave out what is said of those arguments."""
    if what not in ("function", "method"):
        return
    kept, dropping = [], False
    for line in lines:
        if match := _ARGUMENT.match(line):
            dropping = match[1] in _AMBIENT
        elif line and not line.startswith(" "):
            dropping = False
        if not dropping:
            kept.append(line)
    lines[:] = kept


def setup(app):
    """Connect what no extension does."""
    app.connect("autodoc-process-docstring", _fences_to_blocks)
    app.connect("autodoc-process-docstring", _without_ambient, priority=900)
    app.connect("autodoc-process-signature", _public_signature)
