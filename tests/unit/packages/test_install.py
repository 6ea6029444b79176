"""install() in real environments, from a real index, by uv and by pip."""

from __future__ import annotations

import pytest


def test_installs_what_is_missing_and_says_what_changed(either):
    """A new package arrives, the report names it, and this Python can import it at once."""
    said = either.install("demo==1.0")
    assert said["changed"] == [{"name": "demo", "before": None, "after": "1.0"}]
    assert said["installer"] == either.installer
    assert either.run("-c", "import demo; print(demo.version())") == "1.0\n"


def test_nothing_to_do_starts_no_process(either):
    """What is there is answered in this process: no installer is asked, and nothing changes."""
    either.have("demo==1.0")
    before = either.freeze()
    said = either.install("demo>=1", "demo")
    assert (said["started"], said["changed"], said["installer"]) == (0, [], "")
    assert either.freeze() == before


def test_constraints_count_where_all_is_there(environment, tmp_path):
    """A version that a pasted line's constraints rule out is not "already there", as for pip itself."""
    environment.have("demo==2.0")
    file = tmp_path / "constraints.txt"
    file.write_text("demo>=2  # the newest\nabsent==1.0\n")
    assert environment.install(f"!pip install demo -c {file}")["started"] == 0
    file.write_text("demo<2\n")
    said = environment.install(f"!pip install demo -c {file}")
    assert said["changed"] == [{"name": "demo", "before": "2.0", "after": "1.0"}]


def test_a_plan_touches_nothing(either):
    """dry_run says the versions before and after, and leaves every file as it was."""
    either.have("demo==1.0")
    before = either.freeze()
    said = either.install("demo==2.0", dry_run=True)
    assert said["changed"] == [{"name": "demo", "before": "1.0", "after": "2.0"}]
    assert said["dry_run"]
    assert either.freeze() == before


def test_replacing_a_loaded_package_asks_for_a_restart(either):
    """Outside a notebook nothing can restart, so the report says that the old code still runs."""
    either.have("demo==1.0")
    said = either.install("demo==2.0", before=["import demo"])
    assert said["restart_needed"]
    assert said["stale"] == ["demo 1.0 is loaded, 2.0 is installed"]


def test_replacing_what_is_not_loaded_asks_for_nothing(either):
    """A package that nobody imported can change without a restart."""
    either.have("demo==1.0")
    assert not either.install("demo==2.0")["restart_needed"]


def test_a_plan_tells_that_a_restart_would_be_needed(environment):
    """The plan knows that a loaded package would be replaced, before anything is."""
    environment.have("demo==1.0")
    said = environment.install("demo==2.0", before=["import demo"], dry_run=True)
    assert said["stale"] == ["demo 1.0 is loaded, 2.0 is installed"]


def test_putting_the_loaded_version_back_needs_no_restart(environment):
    """What somebody else replaced is repaired by installing what is loaded: then all is well again."""
    environment.have("demo==1.0")
    from tests.support.kernels import find_uv

    uv = [find_uv(), "pip", "install", "-q", "--python", str(environment.python), "-i", environment.index, "demo==2.0"]
    said = environment.install("demo==1.0", before=["import demo, subprocess", f"subprocess.run({uv!r}, check=True)"])
    assert said["changed"] == [{"name": "demo", "before": "2.0", "after": "1.0"}]
    assert said["stale"] == []


def test_heavy_packages_stay_unless_asked_for(either):
    """A package that wants another numpy is refused with the cause; with numpy named too it is installed."""
    either.have("numpy==1.0")
    before = either.freeze()
    said = either.install("wants-new-numpy")
    assert said["error"] == "ConflictError"
    assert "numpy" in said["what"]
    assert "numpy" in said["do"]
    assert "constrain=False" in said["do"]
    assert either.freeze() == before
    assert {one["name"] for one in either.install("wants-new-numpy", "numpy")["changed"]} == {
        "numpy",
        "wants-new-numpy",
    }


def test_constrain_can_be_switched_off(environment):
    """constrain=False lets the heavy packages change."""
    environment.have("numpy==1.0")
    changed = environment.install("wants-new-numpy", constrain=False)["changed"]
    assert {"name": "numpy", "before": "1.0", "after": "2.0"} in changed


@pytest.mark.parametrize("wish", ["wants-new-traitlets", "traitlets==2.0"])
def test_the_kernels_own_packages_are_refused(either, wish):
    """Neither a dependency nor a request by name moves what the kernel stands on."""
    either.have("traitlets==1.0", "ipykernel==1.0")
    before = either.freeze()
    said = either.install(wish, constrain=False)
    assert said["error"] == "ProtectedPackageError"
    assert "traitlets" in said["what"]
    assert "force=True" in said["do"]
    assert either.freeze() == before


def test_force_changes_even_those(environment):
    """The user has the last word."""
    environment.have("traitlets==1.0")
    changed = environment.install("traitlets==2.0", force=True)["changed"]
    assert changed == [{"name": "traitlets", "before": "1.0", "after": "2.0"}]


def test_breaking_another_package_unasked_is_refused(either):
    """An installer looks only at what it installs; we look at what the change would break, before it is made."""
    either.have("needs-old-demo", "demo==1.0")
    before = either.freeze()
    said = either.install("wants-new-demo")
    assert said["error"] == "ConflictError"
    assert "needs-old-demo 1.0 needs demo<2, and would find demo 2.0" in said["why"]
    assert either.freeze() == before


def test_breaking_another_package_by_name_is_reported(environment):
    """Who asks for the version by name gets it, and is told what does not fit any more."""
    environment.have("needs-old-demo", "demo==1.0")
    said = environment.install("demo==2.0")
    assert said["conflicts"] == ["needs-old-demo 1.0 needs demo<2, and would find demo 2.0"]
    assert said["changed"] == [{"name": "demo", "before": "1.0", "after": "2.0"}]


def test_versions_that_exclude_each_other_are_explained(either):
    """The cause is named: who needs what."""
    before = either.freeze()
    said = either.install("needs-old-demo", "demo==2.0")
    assert said["error"] == "ConflictError"
    assert "demo<2" in said["why"]
    assert either.freeze() == before


def test_find_links_is_an_argument_of_ours(environment, wheels):
    """A folder of wheels works with the index out of reach."""
    said = environment.install("demo==1.0", index_url="http://127.0.0.1:9/simple", find_links=[str(wheels)])
    assert said["error"] == "OfflineError"
    environment.env["COLABKIT_OFFLINE"] = "1"
    said = environment.install("demo==1.0", index_url=None, find_links=[str(wheels)])
    assert said["changed"] == [{"name": "demo", "before": None, "after": "1.0"}]


def test_an_indexs_password_is_not_an_argument_of_a_process(environment):
    """Every user of a machine sees arguments; the address travels in the environment, and never into a message."""
    secret = environment.index.replace("://", "://me:hush-hush@")
    said = environment.install("no-such-package", index_url=secret)
    assert "hush-hush" not in str(said)
    line = "import sys; sys.addaudithook(lambda e, a: e == 'subprocess.Popen' and print(a[1]))"
    assert "hush-hush" not in environment.run(
        "-c", f"{line}\nfrom colabkit.packages import install\ninstall('demo', index_url={secret!r})"
    )
