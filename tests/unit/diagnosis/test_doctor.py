"""doctor() on recorded machines and laid-out sites: each fault is found, and a machine as its host gives it is well."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import colabkit as ck
from colabkit.diagnosis import CHECKS, Diagnosis, Finding, examine
from colabkit.diagnosis.base import Scene
from colabkit.packages.environment import Environment
from colabkit.runtime import base
from colabkit.runtime.devices import Accelerator, Devices
from colabkit.runtime.frontend import rpc as frontend_rpc
from colabkit.runtime.resources import Disk
from tests.support.package_index import colabkit_alone
from tests.unit.runtime import recorded

FREEZES = Path(__file__).parents[2] / "unit" / "packages" / "data"
T4 = Accelerator(kind="gpu", name="Tesla T4")
CHIP = Accelerator(kind="tpu", name="TPU v5e")
GOOD_TPU = ("jax==0.7.2", "keras==3.13.2", "libtpu==0.0.21")
GIB = 1024**3


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """Make a scene: a recorded machine, its devices, and a site with the distributions that are named."""
    # Another test of this process may have imported Keras; a loaded backend decides which wheels matter.
    for name in ("keras", "tensorflow", "jax", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def make(machine=recorded.COLAB, *, devices=(), packages=(), env=None, shell=None, evidence="", **changes):
        root, site = tmp_path / "root", tmp_path / "site"
        machine = dataclasses.replace(machine, env={**machine.env, **(env or {})})
        runtime = machine.detect(root, shell=shell)
        if devices or evidence:
            found = Devices(found=tuple(devices), evidence=evidence)
            changes["_detect_devices"] = lambda: found
        site.mkdir(exist_ok=True)
        for pin in packages:
            name, _, version = pin.partition("==")
            folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        runtime = runtime.replace(disk=Disk(total=100 * GIB, free=60 * GIB)).replace(**changes)
        place = base.here(env=machine.env, root=root, shell=shell, cwd=root)
        return Scene(runtime=runtime, place=place, site=Environment([str(site)]))

    return make


def found(scene):
    """Return the findings as (severity, what)."""
    return [(one.severity, one.what) for one in examine(scene).findings]


def serious(scene):
    """Return all but the notes."""
    return [one for one in found(scene) if one[0] != "note"]


def frozen(name):
    """Return the pins of a freeze of Colab's image."""
    lines = (FREEZES / name).read_text().splitlines()
    pins = (re.sub(r" @ .*/([\w.-]+?)-([^-]+)-cp.*", r"==\2", line).replace("%2B", "+") for line in lines)
    return [pin for pin in pins if re.fullmatch(r"[\w.-]+==\S+", pin)]


@pytest.mark.parametrize(
    ("machine", "freeze", "devices"),
    [(recorded.COLAB, "pip-freeze.txt", ()), (recorded.COLAB_GPU, "pip-freeze.gpu.txt", (T4,))],
)
def test_colabs_own_images_are_well(scene, machine, freeze, devices):
    """Colab's CPU and GPU images, package by package as they ship, need no action and get no warning."""
    pins = frozen(freeze)
    assert len(pins) > 400
    assert serious(scene(machine, devices=devices, packages=pins)) == []


def test_a_tpu_image_is_well(scene):
    """A TPU image on which Keras runs on JAX gets a note on TensorFlow, no more."""
    looked = scene(recorded.COLAB_TPU, devices=(CHIP,), packages=GOOD_TPU)
    assert ("note", "this TPU runtime has no TensorFlow") in found(looked)
    assert serious(looked) == []


def test_kaggles_image_is_well(scene):
    """Kaggle's ipywidgets 8 is fine there."""
    assert serious(scene(recorded.KAGGLE, packages=("ipywidgets==8.1.5", "tensorflow==2.20.0"))) == []


@pytest.mark.parametrize(
    ("packages", "env", "expected"),
    [
        (("tensorflow-cpu==2.20.0",), {}, [("problem", "TensorFlow")]),
        (("jax==0.7.2", "jaxlib==0.7.2"), {}, [("problem", "JAX")]),
        (("torch==2.11.0+cpu",), {}, [("problem", "PyTorch")]),
        (("tensorflow==2.20.0", "jax==0.7.2"), {}, [("warning", "JAX")]),
        (("tensorflow==2.20.0", "jax==0.7.2"), {"KERAS_BACKEND": "jax"}, [("problem", "JAX")]),
        (("jax==0.7.2", "jax-cuda12-plugin==0.7.2", "torch==2.11.0+cu128"), {}, []),
    ],
)
def test_a_gpu_and_wheels_without_gpu_code(scene, packages, env, expected):
    """A wheel that cannot use the GPU is a problem where Keras would train with it, else a warning."""
    looked = scene(recorded.COLAB_GPU, devices=(T4,), packages=packages, env=env)
    what = "there is a GPU (Tesla T4), and {} cannot use it"
    assert serious(looked) == [(severity, what.format(title)) for severity, title in expected]


def test_a_tensorflow_that_was_built_without_cuda(scene, tmp_path):
    """TensorFlow's own note on its build is read as text, since importing it takes seconds."""
    looked = scene(recorded.COLAB_GPU, devices=(T4,), packages=("tensorflow==2.20.0",))
    note = tmp_path / "site/tensorflow/python/platform/build_info.py"
    note.parent.mkdir(parents=True)
    note.write_text("build_info = collections.OrderedDict([('is_cuda_build', True)])")
    assert serious(looked) == []
    note.write_text("build_info = collections.OrderedDict([('is_cuda_build', False)])")
    assert serious(looked) == [("problem", "there is a GPU (Tesla T4), and TensorFlow cannot use it")]


def test_an_old_driver_and_memory_that_others_hold(scene):
    """Both are told before a training finds out, from what the driver and the wheels say."""
    gpu = T4.replace(driver="550.54.15", memory=15 * GIB, memory_used=9 * GIB)
    packages = ("jax==0.10.2", "jax-cuda13-plugin==0.10.2")
    assert serious(scene(recorded.COLAB_GPU, devices=(gpu,), packages=packages)) == [
        ("problem", "the GPU's driver is too old for JAX"),
        ("warning", "another process holds 9.0 of the 15.0 GiB of the Tesla T4"),
    ]


@pytest.mark.parametrize(
    ("machine", "options", "expected"),
    [
        (
            recorded.KAGGLE,
            {"devices": (T4, T4), "env": {"CUDA_VISIBLE_DEVICES": "0"}},
            ("warning", "frameworks see 1 of 2 GPUs"),
        ),
        (
            recorded.COLAB_TPU,
            {"devices": (CHIP,), "packages": ("jax==0.7.2", "keras==3.13.2")},
            ("problem", "there is a TPU, and JAX cannot use it"),
        ),
        (
            recorded.COLAB_TPU,
            {"devices": (CHIP,), "packages": GOOD_TPU, "env": {"KERAS_BACKEND": "tensorflow"}},
            ("problem", "KERAS_BACKEND is tensorflow, and tensorflow is not installed"),
        ),
        (
            recorded.COLAB_GPU,
            {"evidence": "nvidia-smi failed (Driver/library version mismatch), no /dev/accel*"},
            ("problem", "the GPU driver does not answer"),
        ),
        (
            dataclasses.replace(recorded.KAGGLE_TPU, files=recorded.KAGGLE.files),
            {},
            ("problem", "a TPU was promised, and there is none"),
        ),
        (recorded.COLAB_GPU, {}, ("problem", "this is a machine with an accelerator, and none is seen")),
        (
            recorded.COLAB,
            {"packages": ("ipywidgets==8.1.9",)},
            ("problem", "ipywidgets 8.1.9 does not work on Colab"),
        ),
        (
            recorded.LOCAL,
            {"packages": ("ipywidgets==9.0.0",)},
            ("warning", "ipywidgets 9.0.0 is not a version that colabkit is tested with"),
        ),
        (
            recorded.LOCAL,
            {"packages": ("tensorflow==2.20.0",), "env": {"KERAS_BACKEND": "torch"}},
            ("problem", "KERAS_BACKEND is torch, and torch is not installed"),
        ),
        (
            recorded.COLAB,
            {"env": {"UV_CONSTRAINT": "/no/such/file"}},
            ("warning", "UV_CONSTRAINT names a file that does not exist"),
        ),
        (
            dataclasses.replace(recorded.COLAB, folders=("/content", "/usr/local/conda-meta")),
            {},
            ("warning", "condacolab has replaced this runtime's Python"),
        ),
        (recorded.COLAB, {"session_age": 11.5 * 3600}, ("warning", "this session has run for 11.5 hours")),
        (
            dataclasses.replace(recorded.KAGGLE, env={"KAGGLE_KERNEL_RUN_TYPE": "Batch", "HOME": "/root"}),
            {},
            ("warning", "Kaggle's secrets are out of reach"),
        ),
        (recorded.LOCAL, {"disk": Disk(total=100 * GIB, free=3 * GIB)}, ("warning", "3.0 GiB are free on the disk")),
        (recorded.LOCAL, {"disk": Disk(total=100 * GIB, free=GIB // 4)}, ("problem", "256 MiB are free on the disk")),
    ],
)
def test_a_fault_is_found(scene, machine, options, expected):
    """Each fault that users report is found, and it alone is told."""
    assert serious(scene(machine, **options)) == [expected]


@pytest.mark.parametrize(("left", "severity"), [(3, None), (1, "warning"), (0.25, "problem")])
def test_memory_that_runs_out(scene, tmp_path, left, severity):
    """The container's own limit counts: 4 GiB of which little is left."""
    looked = scene(recorded.LOCAL)
    for name, text in {
        "proc/meminfo": "MemTotal: 32000000 kB\nMemAvailable: 30000000 kB\n",
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
        "sys/fs/cgroup/memory.max": str(4 * GIB),
        "sys/fs/cgroup/memory.current": str(int((4 - left) * GIB)),
    }.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert [one[0] for one in serious(looked)] == ([] if severity is None else [severity])


def test_an_image_older_than_the_lock(scene, tmp_path):
    """A lock that was written on a newer image says so with both days; the same image says nothing."""
    looked = scene(recorded.COLAB)
    lock = tmp_path / "root" / "requirements.lock"
    lock.write_text(f"# colabkit lock 1\n# image: colab {recorded.COLAB_TAG}\nnumpy==2.1.3\n")
    assert serious(looked) == []
    lock.write_text("# colabkit lock 1\n# image: colab release-colab_20261101-060134_RC00\nnumpy==2.1.3\n")
    assert serious(looked) == [("warning", "this image is older than the lock (2026-08-25, and 2026-11-01)")]
    lock.write_text("# colabkit lock 1\n# image: kaggle x\nnumpy==2.1.3\n")
    assert serious(looked) == [("warning", "this is not the lock's runtime")]


@pytest.mark.parametrize(
    ("machine", "devices", "told"), [(recorded.LOCAL, (), True), (recorded.COLAB_TPU, (CHIP,), False)]
)
def test_missing_extras(scene, tmp_path, machine, devices, told, monkeypatch):
    """What an extra in use lacks is a note with its install line, but not where it would do harm, or nobody uses it."""
    looked = scene(machine, devices=devices, packages=("colabkit==0", "keras==3.13.2", "numpy==2.1.3"))
    (tmp_path / "site/colabkit-0.dist-info/METADATA").write_text("Name: colabkit\nProvides-Extra: train\n\nText\n")
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    assert not [one for one in found(looked) if "extra" in one[1]]
    monkeypatch.setitem(sys.modules, "numpy", type(sys)("numpy"))
    notes = [one for one in examine(looked).findings if "extra 'train'" in one.what]
    assert bool(notes) == told
    assert all(one.severity == "note" and '"tensorflow>=' in one.do for one in notes)
    assert all(set(re.findall(r"\w+", one.why)) == {"missing", "matplotlib", "tensorflow"} for one in notes)


def test_colab_without_a_browser(scene, monkeypatch):
    """What secret() found out is told; doctor() itself asks nobody, which could take 2 seconds."""
    shell = type("Shell", (), {"__module__": frontend_rpc.SHELL})()
    frontend_rpc.forget()
    assert serious(scene(recorded.COLAB, shell=shell)) == []
    note = ("note", "the colab command gives a silent cell 30 seconds")
    asks_nobody = type("Kernel", (), {"get_parent": lambda *_: {"content": {"allow_stdin": False}}})()
    monkeypatch.setattr(type(shell), "kernel", asks_nobody, raising=False)
    assert note in found(scene(recorded.COLAB, shell=shell))
    monkeypatch.delattr(type(shell), "kernel")
    assert note not in found(scene(recorded.COLAB, shell=shell))
    monkeypatch.setattr(frontend_rpc._probe, "number", 1)
    assert serious(scene(recorded.COLAB, shell=shell)) == [("warning", "Colab's secrets are out of reach")]


def test_a_command_says_what_it_cannot_see(scene):
    """`!colabkit doctor` is a process beside the kernel, and says so."""
    assert ("note", "a command does not see what the notebook has loaded") in found(scene(recorded.COLAB))


def test_a_package_replaced_under_the_process(tmp_path):
    """A package that another process replaced after it was imported is a problem, with the restart as cure."""
    code = """
import pathlib, sys, time
site = pathlib.Path(sys.argv[1])
def install(version):
    folder = site / f"demo-{version}.dist-info"
    folder.mkdir()
    (site / "demo.py").write_text(f"__version__ = {version!r}\\ndef work(): return {version!r}\\n")
    (folder / "METADATA").write_text(f"Name: demo\\nVersion: {version}\\n")
    (folder / "RECORD").write_text(f"demo.py,,\\ndemo-{version}.dist-info/RECORD,,\\n")
    return folder
import colabkit as ck
first = install("1.0")
sys.path.insert(0, str(site))
import demo
import shutil; shutil.rmtree(first)
install("2.0")
for one in ck.doctor().findings:
    print(one.severity, "|", one.what, "|", one.why, "|", one.do)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(ck.__file__).parents[1])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        "problem | demo was replaced under this running process | demo 1.0 is loaded, 2.0 is installed" in done.stdout
    )
    assert "colabkit.detect().restart()" in done.stdout


def test_a_check_that_fails_is_told_and_the_others_go_on(scene, monkeypatch):
    """A machine so broken that a check fails still gets the findings of the others."""

    def broken(scene):
        raise RuntimeError("the site is gone")

    monkeypatch.setitem(CHECKS, "packages", broken)
    looked = scene(recorded.LOCAL, disk=Disk(total=GIB, free=0))
    assert serious(looked) == [("problem", "0 B are free on the disk"), ("warning", "packages could not be checked")]


class _Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.words = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words.append(data)


def test_text_table_and_json_tell_the_same(scene):
    """A terminal, a notebook and a program get each finding, the worst first; hostile text stays text in the table."""
    evil = Finding(severity="problem", what="<script>x</script>", why="a & b", do="<b>")
    plain = examine(scene(recorded.COLAB))
    diagnosis = Diagnosis(runtime=plain.runtime, findings=(evil, *plain.findings), checks=plain.checks)
    page = _Text()
    page.feed(diagnosis._repr_html_())
    assert "script" not in page.tags
    assert evil.what in page.words
    for one in json.loads(json.dumps(diagnosis.to_json()))["findings"]:
        assert f"{one['severity']}: {one['what']}\n  Why: {one['why']}\n  What to do: {one['do']}" in str(diagnosis)
        assert one["do"] in page.words
    assert str(diagnosis).endswith("1 problem, 3 notes.")


def test_every_finding_is_whole(scene):
    """No finding lacks its reason or its next step."""
    looked = scene(recorded.COLAB_GPU, packages=("ipywidgets==8.1.9",), env={"UV_CONSTRAINT": "/x"})
    findings = examine(looked).findings
    assert len(findings) >= 4
    assert all(one.what and one.why and one.do for one in findings)


def test_the_command_ends_with_1_when_something_needs_action(tmp_path):
    """`colabkit doctor --json` prints one object; its exit code says whether to act."""
    alone = colabkit_alone(tmp_path / "modules")  # without the site there is no torch, whatever is installed here
    for env, code in (({}, 0), ({"KERAS_BACKEND": "torch"}, 1)):
        done = subprocess.run(
            [sys.executable, "-S", "-m", "colabkit", "doctor", "--json"],
            env={**os.environ, "PYTHONPATH": str(alone), **env},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        value = json.loads(done.stdout)
        problems = [one for one in value["findings"] if one["severity"] == "problem"]
        assert (done.returncode, value["needs_action"]) == (int(bool(problems)), bool(problems))
        assert any("KERAS_BACKEND" in one["what"] for one in problems) == bool(code)


def test_it_imports_nothing_heavy():
    """In a fresh interpreter it takes no framework to look at frameworks."""
    code = "import sys, colabkit; colabkit.doctor(); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "jax", "torch", "keras", "numpy", "IPython", "requests"}
    assert set(done.stdout.split()) & heavy == set()


@pytest.mark.parametrize(
    ("calls", "has", "well"),
    [
        ("L(x).starmap(f)", "def map(self:L, f)", False),
        ("L(x).map(star(f))", "def map(self:L, f)", True),
        ("L(x).starmap(f)", "def starmap(self:L, f)", True),
    ],
    ids=["fastai 2.8.7 with fastcore 2", "Colab's pair", "Kaggle's pair"],
)
def test_a_fastai_that_cannot_train_is_found_by_its_source(scene, tmp_path, calls, has, well):
    """It is told before the first fit fails, and a pair that works is left alone, whatever its versions are."""
    made = scene(recorded.COLAB, packages=("fastai==2.8.7", "fastcore==2.2.12"))
    for name, text in {"fastai/optimizer.py": calls, "fastcore/foundation.py": has}.items():
        path = tmp_path / "site" / name
        path.parent.mkdir()
        path.write_text(f"# a module\n{text}\n")
    expected = ("problem", "fastai 2.8.7 cannot train beside fastcore 2.2.12")
    assert (expected not in found(made)) is well


def test_a_gpu_whose_chip_a_wheel_has_no_code_for(scene, tmp_path):
    """A P100 (sm_60) under a torch of CUDA 12.8, or a TensorFlow that lists its chips, is a problem said before."""
    gpu = Accelerator(kind="gpu", name="Tesla P100", compute_capability=(6, 0))
    looked = scene(recorded.KAGGLE, devices=(gpu,), packages=("torch==2.11.0+cu128",))
    (tmp_path / "site/torch").mkdir()
    (tmp_path / "site/torch/version.py").write_text("cuda: Optional[str] = '12.8'\n")
    [problem] = [one for one in examine(looked).findings if "chip" in one.what]
    assert problem.severity == "problem"
    assert "6.0" in problem.why
    assert "7.0 and newer" in problem.why
    (tmp_path / "site/torch/version.py").write_text("cuda: Optional[str] = '12.6'\n")
    assert not [one for one in found(looked) if "chip" in one[1]]


def test_jaxs_own_variable_promises_no_tpu(scene):
    """JAX sets TPU_SKIP_MDS_QUERY on every machine that has no TPU."""
    from colabkit.runtime import devices

    assert "although" not in devices.detect({"TPU_SKIP_MDS_QUERY": "1"}, Path("/nowhere")).evidence
    assert "although COLAB_TPU_1VM" in devices.detect({"COLAB_TPU_1VM": "1"}, Path("/nowhere")).evidence


def test_the_kernels_own_packages_are_put_back_before_a_restart(scene, monkeypatch):
    """After `!pip install ipython==8.37` no restart is advised: the call that puts it back comes first."""
    from colabkit.diagnosis import packages
    from colabkit.packages.stale import Stale

    changed = (Stale(name="ipython", running="7.34.0", installed="8.37.0"),)
    monkeypatch.setattr(packages, "stale", lambda _: changed)
    [problem] = [one for one in examine(scene()).findings if "ipython" in one.what]
    assert problem.do == 'put it back before any restart: colabkit.install("ipython==7.34.0", force=True)'


def test_autoreload_on_a_python_that_it_does_not_know(scene, tmp_path):
    """IPython 7.34 wants the module imp, which Python 3.12 has no more: the finding brings the workaround."""
    looked = scene(packages=("ipython==7.34.0",), shell=object(), python="3.13.1")
    (tmp_path / "site/IPython/extensions").mkdir(parents=True)
    (tmp_path / "site/IPython/extensions/autoreload.py").write_text("from imp import reload\n")
    [note] = [one for one in examine(looked).findings if "autoreload" in one.what]
    namespace = {}
    exec(note.do.partition(": ")[2], namespace)  # noqa: S102 - the advice has to work
    try:
        assert sys.modules["imp"].reload is namespace["importlib"].reload
    finally:
        sys.modules.pop("imp", None)


def test_why_a_kernel_died_and_a_locale(scene, tmp_path, monkeypatch):
    """The system counts what it ends when memory runs out; a locale that is not UTF-8 keeps Colab from running `!`."""
    import locale

    looked = scene()
    group = tmp_path / "root/sys/fs/cgroup"
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    proc = tmp_path / "root/proc/self"
    proc.mkdir(parents=True, exist_ok=True)
    (proc / "cgroup").write_text("0::/\n")
    (proc / "mountinfo").write_text("31 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    monkeypatch.setattr(locale, "getpreferredencoding", lambda *_: "ANSI_X3.4-1968")
    said = {one.what: one for one in examine(looked).findings}
    assert "the system has ended 2 processes of this machine because memory ran out" in said
    assert "the locale's encoding is ANSI_X3.4-1968, not UTF-8" in said


def test_frameworks_that_clash_are_told_beforehand(tmp_path):
    """With TensorFlow loaded and triton 3.7 installed, torch would end the process: told, and avoided by colabkit."""
    for name, version in (("triton", "3.7.0"), ("torch", "2.13.0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        (tmp_path / f"{name}-{version}.dist-info").mkdir()
        (tmp_path / f"{name}-{version}.dist-info/METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    script = (
        "import sys, types; sys.path.insert(0, sys.argv[1])\n"
        "fake = types.ModuleType('tensorflow'); fake.__version__ = '2.21.0'; sys.modules['tensorflow'] = fake\n"
        "from colabkit._internal import optional\nfrom colabkit._internal.process import frameworks\n"
        "print(bool(frameworks.clash()), 'triton' in sys.modules)\n"
        "optional.require('torch', extra='fastai', why='a test')\n"
        "print(list(sys.modules).index('triton') < list(sys.modules).index('torch'), bool(frameworks.clash()))"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "False", "True", "False"]
