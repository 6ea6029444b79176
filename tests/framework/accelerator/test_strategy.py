"""The choice of a strategy, from runtimes made by hand, and its scope with real frameworks."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from colabkit.accelerator import strategy
from colabkit.accelerator.backends import Backends
from colabkit.accelerator.base import choose
from colabkit.accelerator.build_info import Wheel, build_info
from colabkit.accelerator.cluster import Cluster
from colabkit.accelerator.precision import policy_for
from colabkit.errors import MissingDependencyError, UnknownNameError, UnsupportedError
from colabkit.runtime import detect
from colabkit.runtime.devices import Accelerator, Devices

T4 = Accelerator(kind="gpu", name="Tesla T4")
TPU = Accelerator(kind="tpu", name="TPU v5e")
NO_GPU = Wheel(no_gpu="the package tensorflow-cpu is installed, which has no GPU code", do="install another")


def runtime(*found, cpus=2.0):
    """Return this runtime with other devices."""
    devices = Devices(found=found, evidence="nvidia-smi absent, no /dev/accel* or /dev/vfio/*")
    return detect().replace(cpus=cpus, _detect_devices=lambda: devices)


def having(*installed, loaded=None, env=None, wheels=None, touched=False):
    """Return backends, in the order in which they are taken."""
    wheel = (wheels or {}).get
    return Backends(loaded=loaded, env=env or {}, installed=installed, wheel=wheel, touched=touched)


ALL = having("tensorflow", "jax", "torch")


def test_a_cpu_runtime_trains_plainly_and_says_why():
    """Without an accelerator nothing is wrapped, and the sentence names the reason, the cores and the backend."""
    chosen = choose(runtime(), ALL)
    assert (chosen.name, chosen.replicas, chosen.policy, chosen.warnings) == ("plain", 1, None, ())
    assert chosen.reason == "no GPU or TPU was found, so training runs on the CPU with 2 cores (TensorFlow)"


@pytest.mark.parametrize(
    ("found", "backends", "name", "replicas", "policy"),
    [
        ([T4], ALL, "OneDeviceStrategy", 1, "mixed_float16"),
        ([T4, T4], ALL, "MirroredStrategy", 2, "mixed_float16"),
        ([T4], having("jax"), "plain", 1, "mixed_float16"),
        ([T4, T4], having("jax"), "DataParallel", 2, "mixed_float16"),
        ([TPU] * 8, having("tensorflow", "jax", env={"KERAS_BACKEND": "jax"}), "DataParallel", 8, "mixed_bfloat16"),
        ([TPU], having("tensorflow", wheels={"tensorflow": Wheel(tpu=True)}), "TPUStrategy", 1, "mixed_bfloat16"),
        ([T4, T4], having("torch"), "plain", 1, "mixed_float16"),
        ([T4, T4], having("tensorflow", env={"CUDA_VISIBLE_DEVICES": "1"}), "OneDeviceStrategy", 1, "mixed_float16"),
        ([T4], having("tensorflow", env={"CUDA_VISIBLE_DEVICES": "-1"}), "plain", 1, None),
    ],
)
def test_the_devices_and_the_backend_make_the_strategy(found, backends, name, replicas, policy):
    """Each backend gets its own kind of strategy, over the devices that it can see."""
    chosen = choose(runtime(*found), backends)
    assert (chosen.name, chosen.replicas, chosen.policy) == (name, replicas, policy)
    assert chosen.batch_size(32) == 32 * replicas


@pytest.mark.parametrize(
    ("capability", "policy"),
    [((9, 0), "mixed_bfloat16"), ((8, 0), "mixed_bfloat16"), ((7, 5), "mixed_float16"), ((6, 0), None)],
)
def test_the_capability_that_the_driver_tells_decides(capability, policy):
    """Whatever a card is called, what the driver says it can compute is what counts."""
    card = Accelerator(kind="gpu", name="NVIDIA of tomorrow", compute_capability=capability)
    assert policy_for([card], "auto") == (policy, ())


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("NVIDIA A100-SXM4-40GB", "mixed_bfloat16"),
        ("NVIDIA H100 80GB HBM3", "mixed_bfloat16"),
        ("NVIDIA L4", "mixed_bfloat16"),
        ("NVIDIA A10G", "mixed_bfloat16"),
        ("NVIDIA GeForce RTX 3060 Ti", "mixed_bfloat16"),
        ("Quadro RTX 5000", None),
        ("Tesla V100-SXM2-16GB", "mixed_float16"),
        ("Tesla P100-PCIE-16GB", None),
    ],
)
def test_mixed_precision_is_chosen_where_the_chip_is_fast_at_it(name, policy):
    """A card without fast half precision keeps float32, even when its name resembles one that has it."""
    assert policy_for([Accelerator(kind="gpu", name=name)], "auto") == (policy, ())


def test_mixed_precision_can_be_named_or_turned_off():
    """An explicit word wins over the chip; on a CPU it is left out and that is said."""
    assert choose(runtime(T4), ALL, mixed_precision="mixed_bfloat16").policy == "mixed_bfloat16"
    assert choose(runtime(T4), ALL, mixed_precision=False).policy is None
    on_cpu = choose(runtime(), ALL, mixed_precision="mixed_float16")
    assert on_cpu.policy is None
    assert "left out" in on_cpu.warnings[0]
    with pytest.raises(UnknownNameError, match="mixed_float15"):
        choose(runtime(), ALL, mixed_precision="mixed_float15")


def test_the_backend_is_the_loaded_one_then_the_variables_then_the_first_installed():
    """What Keras already runs on cannot be changed by a variable any more."""
    env = {"KERAS_BACKEND": "jax"}
    assert choose(runtime(), having("tensorflow", "jax", loaded="tensorflow", env=env)).backend == "tensorflow"
    assert choose(runtime(), having("tensorflow", "jax", env=env)).backend == "jax"
    assert choose(runtime(), having("jax", "torch")).backend == "jax"
    assert choose(runtime(), ALL, prefer="torch").backend == "torch"
    assert choose(runtime(TPU), ALL, prefer="tpu").backend == "jax"


@pytest.mark.parametrize(
    ("found", "backends", "prefer", "words"),
    [
        ([], ALL, "gpu", "nvidia-smi absent"),
        ([T4], ALL, "tpu", "no TPU was found"),
        ([TPU], having("tensorflow"), "tpu", "does not reach it"),
        ([T4], having("tensorflow", wheels={"tensorflow": NO_GPU}), "gpu", "tensorflow-cpu"),
        ([T4], having("tensorflow", env={"CUDA_VISIBLE_DEVICES": ""}), "gpu", "CUDA_VISIBLE_DEVICES"),
        ([], having("tensorflow"), "jax", "not installed"),
        ([], having("tensorflow", "jax", loaded="tensorflow"), "jax", "keras is already loaded with 'tensorflow'"),
        ([], having("tensorflow", env={"KERAS_BACKEND": "numpy"}), "auto", "numpy"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_why_and_do(found, backends, prefer, words):
    """No wish is dropped in silence."""
    with pytest.raises(UnsupportedError) as caught:
        choose(runtime(*found), backends, prefer=prefer)
    assert words in str(caught.value)
    assert caught.value.why
    assert caught.value.do


def test_a_backend_that_comes_too_late_asks_for_a_restart():
    """The message says what to do with the kernel."""
    with pytest.raises(UnsupportedError, match="restart the kernel"):
        choose(runtime(), having("tensorflow", "jax", loaded="jax"), prefer="tensorflow")


def test_nothing_installed_and_unknown_words_are_said():
    """A machine without any backend gets an install line; a misspelt word gets the known ones."""
    with pytest.raises(MissingDependencyError, match="pip install"):
        choose(runtime(), having())
    with pytest.raises(UnknownNameError, match="tensorflow"):
        choose(runtime(), ALL, prefer="cuda")


PAIR = Cluster(addresses=("a:1", "b:1"), index=1, coordinator="a:2").environment()


@pytest.mark.parametrize(
    ("found", "backends", "name", "replicas"),
    [
        ([], having("tensorflow", env=PAIR), "MultiWorkerMirroredStrategy", 2),
        ([T4, T4], having("tensorflow", env=PAIR), "MultiWorkerMirroredStrategy", 4),
        ([], having("jax", env=PAIR), "DataParallel", 2),
    ],
)
def test_a_worker_of_several_gets_the_strategy_of_all(found, backends, name, replicas):
    """TF_CONFIG decides; the devices of all workers share a batch, and the reason says which worker this is."""
    chosen = choose(runtime(*found), backends)
    assert (chosen.name, chosen.replicas, chosen.workers, chosen.worker) == (name, replicas, 2, 1)
    assert chosen.batch_size(16) == 16 * replicas
    assert "2 workers share each batch, and this is worker 1" in chosen.reason


def test_several_workers_cannot_train_on_torch():
    """Each would train a model of its own, on all of the data."""
    with pytest.raises(UnsupportedError, match="PyTorch"):
        choose(runtime(), having("torch", env=PAIR))


def test_an_accelerator_that_stays_idle_is_told():
    """A CPU-only wheel, a TPU beside TensorFlow and a second GPU beside PyTorch are worth a sentence."""
    for found, backends, word in (
        ([T4], having("tensorflow", wheels={"tensorflow": NO_GPU}), "tensorflow-cpu"),
        ([T4, T4], having("jax", env={"CUDA_VISIBLE_DEVICES": "1"}), "hides 1 of the GPUs"),
        ([TPU], having("tensorflow", "jax"), "prefer='jax'"),
        ([TPU], having("jax"), "no TensorFlow"),
        ([T4, T4], having("torch"), "one of the 2 GPUs"),
    ):
        assert word in " ".join(choose(runtime(*found), backends).warnings)


@pytest.mark.parametrize(
    ("wheel", "touched", "words"),
    [
        (Wheel(cuda=13), False, ["CUDA 13 asks for a driver of 580 or newer", "another process holds 9.0 of the 15.0"]),
        (Wheel(cuda=12), False, ["another process holds"]),
        (Wheel(cuda=12), True, []),
        (Wheel(), True, []),
    ],
)
def test_what_stands_in_the_way_of_a_gpu_is_told(wheel, touched, words):
    """An old driver, and memory that others hold; what this process may hold itself is no news."""
    gpu = T4.replace(driver="550.54.15", memory=15 << 30, memory_used=9 << 30)
    chosen = choose(runtime(gpu, gpu), having("jax", wheels={"jax": wheel}, touched=touched))
    assert chosen.name == "DataParallel"
    assert len(chosen.warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, chosen.warnings, strict=True))


def test_what_a_framework_was_built_for_is_read_from_its_files(tmp_path):
    """Plugins, local versions and the notes of a build tell; nothing is imported."""
    for path, text in (
        (
            "tensorflow/python/platform/build_info.py",
            "OrderedDict([('cuda_version', '12.5.1'), ('is_cuda_build', True)])",
        ),
        ("torch/version.py", "from typing import Optional\n__version__ = '2.11.0'\ncuda: Optional[str] = '13.0'\n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)

    def read(framework, **versions):
        names = {name.replace("_", "-"): version for name, version in versions.items()}
        return build_info(framework, lambda name: (names[name], tmp_path) if name in names else None)

    assert read("tensorflow", tensorflow="2.20.0").cuda == 12
    assert "tensorflow-cpu" in read("tensorflow", tensorflow_cpu="2.20.0").no_gpu
    assert read("tensorflow", tensorflow_tpu="2.20.0").tpu
    assert "CUDA plugin" in read("jax", jax="0.7.2").no_gpu
    assert read("jax", jax="0.7.2", jax_cuda13_plugin="0.7.2").cuda == 13
    assert read("jax", jax="0.7.2", jax_rocm7_plugin="0.7.2") == Wheel()
    assert read("torch", torch="2.11.0").cuda == 13
    assert "without CUDA" in read("torch", torch="2.11.0+cpu").no_gpu
    assert read("torch") is None


def needs(package):
    """Skip where a package is missing; importing it here would cost seconds."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def python(code, **env):
    """Run code in a process of its own, as backends cannot change in one; return the words it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_choosing_imports_no_framework():
    """`strategy()` and a CPU scope load neither Keras nor a backend, so they cost nothing."""
    code = (
        "import sys, colabkit as ck\n"
        "with ck.strategy('cpu'): pass\n"
        "print([m for m in ('keras', 'tensorflow', 'jax', 'torch') if m in sys.modules])"
    )
    needs("keras")
    assert python(code, CUDA_VISIBLE_DEVICES="-1") == ["[]"]


def test_tensorflow_trains_on_two_devices_that_share_a_batch():
    """The scope mirrors a real model over two (logical CPU) devices, and the fit ends with a finite loss."""
    needs("tensorflow")
    code = """
import tensorflow as tf, keras, numpy as np
from colabkit.accelerator.tensorflow import distribute
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
with distribute(["/cpu:0", "/cpu:1"]):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    print(tf.distribute.get_strategy().num_replicas_in_sync)
loss = model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=4, verbose=0).history["loss"][0]
print(np.isfinite(loss), tf.distribute.get_strategy().num_replicas_in_sync)
"""
    assert python(code, KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="-1") == ["2", "True", "1"]


def test_jax_trains_on_two_devices_that_share_a_batch():
    """Inside the scope the model is laid over two (virtual CPU) devices; outside it the former layout is back."""
    needs("jax")
    code = """
import keras, numpy as np
from colabkit.accelerator.jax import shared
with shared("cpu"):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    loss = model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=4, verbose=0).history["loss"][0]
    print(len(model.layers[0].kernel.value.sharding.device_set), np.isfinite(loss))
print(keras.distribution.distribution())
"""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    assert python(code, KERAS_BACKEND="jax", **flags) == ["2", "True", "None"]


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_cpu_that_is_preferred_to_a_gpu_trains(backend):
    """Where a GPU is there and not wanted, the scope pins the real backend to the CPU and a model trains in it."""
    needs(backend)
    code = f"""
import dataclasses, numpy as np, colabkit as ck
with dataclasses.replace(ck.strategy({backend!r}), avoids=True):
    import keras
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    loss = model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=4, verbose=0).history["loss"][0]
print(np.isfinite(loss), keras.config.backend())
"""
    assert python(code, CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu") == ["True", backend]


def test_a_tpu_that_tensorflow_does_not_reach_is_told():
    """The real TensorFlow, told to train on a TPU of this machine, which has none."""
    needs("tensorflow")
    code = (
        "from colabkit.accelerator import tensorflow as _tensorflow\n"
        "from colabkit.errors import UnsupportedError\n"
        "try: _tensorflow.tpu()\n"
        "except UnsupportedError as error: print(error.what)"
    )
    assert python(code, CUDA_VISIBLE_DEVICES="-1") == ["TensorFlow", "does", "not", "reach", "the", "TPU"]


def test_the_scope_sets_the_policy_and_gives_the_former_one_back():
    """After the scope, and after an error in it, models are built as before."""
    needs("jax")
    code = """
import dataclasses, keras, colabkit as ck
chosen = dataclasses.replace(ck.strategy("jax"), policy="mixed_bfloat16")
try:
    with chosen as entered:
        print(entered is chosen, keras.config.dtype_policy().name)
        raise KeyError
except KeyError:
    print(keras.config.dtype_policy().name)
"""
    assert python(code, KERAS_BACKEND="jax", CUDA_VISIBLE_DEVICES="-1") == ["True", "mixed_bfloat16", "float32"]


@pytest.mark.slow
def test_determinism_is_asked_of_the_backend():
    """After the scope, TensorFlow's deterministic kernels are on and XLA is told the same before it opens a device."""
    needs("tensorflow")
    code = """
import os, colabkit as ck
with ck.strategy("tensorflow", deterministic=True):
    from tensorflow.python.framework import config
    print(config.is_op_determinism_enabled())
from colabkit.accelerator.base import require_determinism
require_determinism("jax"), require_determinism("jax")
print(os.environ["XLA_FLAGS"].count("deterministic_ops"))
"""
    assert python(code, CUDA_VISIBLE_DEVICES="-1", XLA_FLAGS="") == ["True", "1"]


def test_the_public_name_answers_on_this_machine():
    """`strategy("cpu")` works wherever a backend is installed."""
    needs("keras")
    assert strategy("cpu").reason.startswith("the CPU was asked for")
