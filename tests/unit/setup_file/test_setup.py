"""Set-ups done for real: a package index and a data server on this machine, environments of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

from colabkit.setup_file import Setup
from tests.support.package_index import write_wheel

CSV = b"7,0,0\n" * 1000


def states(said):
    """Return the state of each step by its title."""
    return {f"{step['kind']} {step['name']}".strip(): step["state"] for step in said["steps"]}


def wait_for_request(server, asked):
    """Note when the data was asked for, and sent."""
    for _ in range(6000):
        if server.seen:
            asked.set()
            return
        time.sleep(0.01)


def test_a_whole_set_up_and_the_second_call(machine, server, tmp_path):
    """Packages, data, lock and run folder come in one call; the second one finds them and asks nobody."""
    server.put("digits.csv", CSV)
    file = tmp_path / "colabkit.toml"
    file.write_text(
        f'packages = ["demo>=2"]\nlock = "requirements.lock"\nrun = "runs/digits"\nsecrets = ["MY_KEY"]\n'
        f'[data]\ndigits = {{ source = "{server.url("digits.csv")}", to = "data/digits.csv" }}'
    )
    machine.env["MY_KEY"] = "the-key"
    first = machine.setup(file)
    assert first["complete"], first
    assert set(states(first).values()) == {"ready", "done"}
    assert [change["name"] for change in first["packages"]["changed"]] == ["demo"]
    assert (tmp_path / "data" / "digits.csv").read_bytes() == CSV
    assert "demo==2.0" in (tmp_path / "requirements.lock").read_text()
    assert (tmp_path / "runs" / "digits" / "checkpoints").is_dir()
    assert "the-key" not in json.dumps(first)
    requests = len(server.seen)
    second = machine.setup(file)
    assert set(states(second).values()) == {"ready"}
    assert second["data"] == first["data"] == {"digits": str(tmp_path / "data" / "digits.csv")}
    assert len(server.seen) == requests


def test_the_run_is_opened_once(tmp_path):
    """What is saved by `ready.run` is what `ready.run.flush()` waits for; nothing is opened before it is asked for."""
    ready = Setup(origin="the test", steps=(), address=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
    ready.run.save({"weights": [1.0]}, step=3)
    ready.run.flush()
    assert ready.run.status().saved_step == 3
    ready.run.close()
    assert Setup(origin="the test", steps=()).run is None


def test_data_comes_while_packages_are_installed(meeting, server, tmp_path):
    """The index gives its wheel only once the data was asked for: one after the other would never end well."""
    machine, asked, met = meeting
    server.put("digits.csv", CSV)
    until_asked = threading.Thread(target=wait_for_request, args=(server, asked), daemon=True)
    until_asked.start()
    said = machine.setup(packages=["demo"], data={"digits": f"{server.url('digits.csv')}"})
    assert said["complete"], said
    assert met[-1], "the last wheel was given though nobody had asked for the data yet"


def test_data_waits_while_what_downloads_is_replaced(machine, server, wheels):
    """A package that downloads are made of is installed first, and alone."""
    write_wheel(wheels, "tqdm", "99.0")
    code = (
        "from colabkit.setup_file import plan_setup; print([one.name for one in plan_setup("
        f"packages=['tqdm>=99'], data={{'a': '{server.url('a')}'}}).beside])"
    )
    assert machine.run("-c", code).strip() == "[]"


def test_a_step_that_fails_does_not_keep_the_others_from_being_done(machine, server):
    """The data is missing and a secret too; the package is installed all the same, and both are told."""
    said = machine.setup(packages=["demo"], data={"digits": f"{server.url('no-such.csv')}"}, secrets=["NOBODY_HAS_IT"])
    assert said["error"] == "SecretNotFoundError"
    assert any("no-such.csv" in note for note in said["notes"])
    assert machine.run("-c", "import demo; print(demo.version())").strip() == "2.0"


def test_nothing_is_touched_by_a_dry_run(machine, server, tmp_path):
    """A dry run names what would be done, and no file, package or folder is made."""
    before = machine.freeze()
    said = machine.setup(
        packages=["demo"],
        data={"digits": f"{server.url('digits.csv')}"},
        lock=str(tmp_path / "x.lock"),
        run=str(tmp_path / "runs"),
        dry_run=True,
    )
    assert set(states(said).values()) == {"to do"}
    assert [change["name"] for change in said["packages"]["changed"]] == ["demo"]
    assert machine.freeze() == before
    assert server.seen == []
    assert not (tmp_path / "x.lock").exists()
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_reads_the_address_of_the_run(machine):
    """`gs:/b/x` can never be opened, which is told before all else is done."""
    said = machine.setup(packages=["demo"], run="gs:/bucket/digits", dry_run=True)
    assert said["error"] == "AddressError"


def test_a_plan_that_cannot_be_leaves_all_alone(machine, server):
    """Packages that do not exist are refused before a byte of the data comes."""
    said = machine.setup(packages=["no-such-package"], data={"digits": f"{server.url('digits.csv')}"})
    assert said["error"] == "PackageNotFoundError"
    assert server.seen == []


def test_the_lock_is_restored_and_grows(machine, tmp_path):
    """A lock that is there decides the versions; a package that it does not know is added to it."""
    lock = tmp_path / "requirements.lock"
    lock.write_text("demo==1.0\n")
    said = machine.setup(packages=["demo", "extras==1.0"], lock=str(lock))
    assert said["complete"], said
    assert {(one["name"], one["after"]) for one in said["packages"]["changed"]} == {("demo", "1.0"), ("extras", "1.0")}
    text = lock.read_text()
    assert "demo==1.0" in text
    assert "extras==1.0" in text
    assert states(machine.setup(packages=["demo", "extras==1.0"], lock=str(lock)))["lock"] == "ready"


def test_a_drive_that_is_not_there_is_declined_in_words(machine):
    """Off Colab there is no Drive to mount, and the message says where one is."""
    said = machine.setup(drive=True)
    assert said["error"] == "UnsupportedError"
    assert "Colab" in said["do"] + said["why"]


def test_a_script_reads_its_own_block(machine, tmp_path):
    """A script with a block needs no file: setup() finds the block of the script that runs."""
    script = tmp_path / "train.py"
    script.write_text(
        '# /// script\n# dependencies = ["demo"]\n# ///\nimport colabkit as ck\nready = ck.setup()\n'
        "import demo\nprint(demo.version(), ready.origin)\n"
    )
    assert machine.run(script).splitlines()[-1] == "2.0 train.py"


def test_the_command_tells_by_its_exit_code(tmp_path):
    """0 when all is ready, 1 when only the user can help, the error's own code otherwise."""
    cases = {
        'packages = ["packaging"]': 0,
        'accelerator = "tpu"': 1,
        "packages = 1": 90,
        'secrets = ["NOBODY_HAS_IT"]': 61,
    }
    for text, code in cases.items():
        (tmp_path / "colabkit.toml").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "colabkit", "setup", "--json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        value = json.loads(done.stdout)
        assert value.get("complete", False) is (code == 0)


def test_what_is_written_from_a_session_makes_it_ready_again(machine, server, tmp_path):
    """`colabkit setup --write` names the packages and the data of the session, and no address with a secret."""
    server.put("digits.csv", CSV)
    server.put("hidden.csv", CSV)
    data = {"digits": f"{server.url('digits.csv')}", "hidden": f"{server.url('hidden.csv')}?token=abc"}
    assert machine.setup(packages=["demo"], data=data)["complete"]
    file = tmp_path / "colabkit.toml"
    machine.run("-m", "colabkit", "setup", "--write", str(file))
    text = file.read_text()
    assert '"demo==2.0"' in text
    assert f'digits = "{server.url("digits.csv")}"' in text
    assert "token" not in text
    again = machine.setup(file, dry_run=True)
    assert again["packages"]["changed"] == []
    assert list(again["data"]) == ["digits"]
    done = subprocess.run(
        [machine.python, "-m", "colabkit", "setup", "--write", str(file)],
        env=machine.env,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 25
    assert file.read_text() == text
