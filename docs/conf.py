"""How Sphinx builds these pages: Markdown by MyST, the reference from the docstrings, no network."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# Last, so that an installed wheel is documented where there is one, and the checkout otherwise.
sys.path.append(str(Path(__file__).parents[1]))

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


def setup(app):
    """Connect the one thing that no extension does."""
    app.connect("autodoc-process-docstring", _fences_to_blocks)
