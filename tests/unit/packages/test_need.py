"""Plain requirements are read without `packaging`, and mean exactly what `packaging` says."""

from __future__ import annotations

import os
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from colabkit.packages.request.requirement import _full, _plain
from tests.support.package_index import put

RELEASES = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
VERSIONS = st.one_of(
    RELEASES,
    st.tuples(RELEASES, st.sampled_from(["rc1", ".post1", ".dev1", "+cu128", "a1.dev2", ".post1+x"])).map("".join),
)
CLAUSES = st.tuples(
    st.sampled_from(["==", "!=", "<=", ">=", "<", ">", "~=", "==="]),
    st.sampled_from(["", " "]),
    VERSIONS,
    st.sampled_from(["", "", "", ".*"]),
).map("".join)
MARKERS = st.sampled_from(
    [
        "",
        'python_version >= "3.8"',
        'python_version < "3.11"',
        "python_version == '3.11'",
        'python_version != "2.7"',
        'sys_platform == "win32"',
        'sys_platform != "win32"',
        'sys_platform == "linux" and python_version > "3"',
        'os_name == "nt" or python_version >= "3"',
        'extra == "more"',
        'extra == "Mo_re"',
        'extra != "more"',
        'python_version >= "3.8" and extra == "more"',
        '(python_version >= "3.8" and extra == "more")',
        '(python_version >= "3.8") and extra == "more"',
        'python_full_version >= "3.11.1"',
        'platform_machine == "x86_64"',
        'platform_system == "Linux" and implementation_name == "cpython"',
        'python_version in "3.10 3.11"',
        '"3.9" <= python_version',
        'sys_platform > "a"',
    ]
)


@st.composite
def requirements(draw):
    """A requirement of any shape that packages use."""
    name = draw(st.sampled_from(["demo", "Demo_Pack.age", "a1", "x-y"]))
    extras = draw(st.sampled_from(["", "[more]", "[more,other_one]", "[]", " [ more , other ]"]))
    clauses = draw(st.lists(CLAUSES, max_size=3))
    joined = draw(st.sampled_from([",", ", ", " , "])).join(clauses)
    marker = draw(MARKERS)
    specifier = f" ({joined})" if draw(st.booleans()) and joined else joined
    return f"{name}{extras}{specifier}" + (f" ; {marker}" if marker else "")


@settings(max_examples=600, deadline=None)
@given(requirements(), VERSIONS)
def test_the_short_way_agrees_with_the_long_one(text, version):
    """Name, extras, marker and versions: either the short way leaves it to `packaging`, or they say the same."""
    short = _plain(text)
    if short is None:
        return
    try:
        long = _full(text)
    except ValueError as error:
        raise AssertionError(f"{text!r} is not a requirement: {error}") from error
    assert (short.name, short.extras, short.url) == (long.name, long.extras, long.url)
    assert short.allows(version) == long.allows(version)
    for extras in (frozenset(), frozenset({"more"}), frozenset({"other", "mo-re"})):
        assert short.applies(extras) == long.applies(extras)


@given(st.text(alphabet="demo1.[],()<>=!~;'\" _and-", max_size=30))
@settings(deadline=None)
def test_the_short_way_takes_nothing_that_is_not_a_requirement(text):
    """Whatever it reads, `packaging` reads as well."""
    if _plain(text) is not None:
        _full(text)


def test_plain_requirements_do_without_packaging(tmp_path):
    """The short way is used: nothing of `packaging` is imported for an everyday question."""
    put(tmp_path, "demo", "2026.11.24.post1", requires=["part>=1.2,<3", 'absent; python_version < "3"'])
    put(tmp_path, "part", "1.2+cu128")
    code = (
        "import sys\nfrom colabkit.packages import install\n"
        "install('demo>=20', 'part; python_version >= \"3\"', restart='never')\n"
        "print([name for name in sys.modules if name.startswith('packaging')])"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
