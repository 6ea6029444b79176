"""Source code of packages: no plan runs it, and an install builds only what the user's words allow."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.package_index import write_source


@pytest.fixture
def source(tmp_path):
    """The folder of a package's code, its archive, and the file that says whether the code ran."""
    mark = tmp_path / "mark"
    folder, archive = write_source(tmp_path, "evil", "1.0", mark)
    return folder, archive, mark


def _spelled(kind, folder, archive):
    if kind == "git":
        git = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@example.org"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
            subprocess.run([*git, *words], check=True)
        return f"evil @ git+file://localhost{folder}"
    return {"archive": f"evil @ file://{archive}", "folder": f"evil @ file://{folder}"}[kind]


@pytest.mark.parametrize("kind", ["archive", "folder", "git"])
def test_a_plan_runs_nobodys_code(either, source, kind):
    """An address of source code is a question of the plan; without `dry_run` it is the word to build it."""
    folder, archive, mark = source
    wish = _spelled(kind, folder, archive)
    said = either.install(wish, "demo==1.0", dry_run=True)
    assert not mark.exists()
    assert said["changed"] == [{"name": "demo", "before": None, "after": "1.0"}]
    assert said["questions"] == [f"{wish}: what it needs can only be had by running its code, which a plan does not"]
    said = either.install(wish)
    assert mark.exists(), said
    assert said["changed"] == [{"name": "evil", "before": None, "after": "1.0"}]


@pytest.mark.parametrize("options", [{"dry_run": True}, {"dry_run": True, "source": True}, {}])
def test_what_an_index_has_as_source_only_is_not_built_unasked(either, source, options):
    """A package without a wheel is refused with the argument that builds it, and the argument builds in no plan."""
    folder, _archive, mark = source
    said = either.install("evil", find_links=[str(folder.parent)], **options)
    assert said["error"] == "NoWheelError"
    assert not mark.exists()
    assert either.install("evil", find_links=[str(folder.parent)], source=True)["changed"]
    assert mark.exists(), said


def test_a_wheel_by_its_address_is_in_the_plan(either, wheels):
    """The plan names the package of an address, and so protection and conflicts are judged before anything is done."""
    either.have("demo==1.0", "traitlets==1.0", "needs-old-demo==1.0", "ipykernel==1.0")
    wheel = f"demo @ file://{wheels}/demo-2.0-py3-none-any.whl"
    plan = either.install(wheel, dry_run=True)
    assert plan["changed"] == [{"name": "demo", "before": "1.0", "after": "2.0"}]
    assert plan["conflicts"] == ["needs-old-demo 1.0 needs demo<2, and would find demo 2.0"]
    before = either.freeze()
    said = either.install(f"traitlets @ file://{wheels}/traitlets-2.0-py3-none-any.whl")
    assert said["error"] == "ProtectedPackageError"
    assert either.freeze() == before


def test_a_package_that_is_installed_again_from_an_address_is_told(environment, wheels):
    """The same version from another place is a change, not "everything is already there"."""
    environment.have("demo==1.0")
    said = environment.install(f"demo @ file://{wheels}/demo-1.0-py3-none-any.whl")
    assert said["changed"] == [{"name": "demo", "before": "1.0", "after": "1.0"}]
