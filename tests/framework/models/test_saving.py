"""Claims about saving and loading: what is loaded predicts the same, and hostile files are refused by their member."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import colabkit as ck
from colabkit.errors import (
    AddressError,
    DataError,
    ModelFileError,
    NewerFormatError,
    UnsafeModelError,
    UnsupportedError,
)
from colabkit.models import Classifier

keras = pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
h5py = pytest.importorskip("h5py", reason="h5py comes with keras")

# Keras' own, on NumPy 2, whenever it saves a model.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

ROOT = Path(__file__).parents[3]
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 4)).astype(np.uint8)


@pytest.fixture(scope="module")
def model():
    """A small model with a branch, so that its configuration has tensors in it."""
    keras.utils.set_random_seed(0)
    entry = keras.layers.Input((4, 4, 1))
    flat = keras.layers.Flatten()(entry)
    both = keras.layers.Add()(
        [keras.layers.Dense(3, activation="relu", kernel_regularizer="l2")(flat), keras.layers.Dense(3)(flat)]
    )
    model = keras.Model(entry, keras.layers.Dense(3)(both))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def classifier(model):
    """The same with preprocessing and labels."""
    return Classifier(
        name="tiny",
        model=model,
        shape=(4, 4, 1),
        divide_by=255,
        labels=("cat", "dog", "emu"),
        metrics={"accuracy": 0.5},
    )


def rewritten(path, **members):
    """Change members of a zip: new bytes, or None to leave one out; `__` stands for a dot."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for name, value in members.items():
        content[name.replace("__", ".")] = value
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)


def config_of(path):
    """Read the configuration of a .keras file."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def test_weights_go_back_into_the_model(model, tmp_path):
    """Weights alone: they need a model, and one of another shape is refused in words."""
    path = ck.save_model(model, tmp_path / "checkpoints" / "my_checkpoint.weights.h5")
    other = keras.models.clone_model(model)
    assert ck.load_model(path, into=other) is other
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(one, two)
    with pytest.raises(AddressError, match="into=model"):
        ck.load_model(path)
    wrong = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(7)])
    with pytest.raises(ModelFileError, match="do not fit"):
        ck.load_model(path, into=wrong)


def test_a_whole_model_predicts_the_same(model, tmp_path):
    """A .keras file gives the model back, compiled; optimizer, regularizer and branches pass the safety check."""
    ck.save_model(model, tmp_path / "model.keras")
    loaded = ck.load_model(tmp_path / "model.keras")
    batch = IMAGES[..., None].astype("float32")
    assert np.array_equal(loaded.predict(batch, verbose=0), model.predict(batch, verbose=0))
    assert loaded.compiled


def test_the_reference_models_pass_the_safety_check(tmp_path):
    """What `train` makes is loaded without trust."""
    from colabkit.models import digits_cnn, mnist_mlp

    for module in (mnist_mlp, digits_cnn):
        model = module.build()
        model.optimizer.build(model.trainable_variables)
        ck.save_model(model, tmp_path / "model.keras")
        assert ck.load_model(tmp_path / "model.keras").output_shape == (None, 10)


USE = """
import sys, json, numpy as np, colabkit as ck
bundle = ck.load_model(sys.argv[1])
said = bundle.predict(np.load(sys.argv[2]), plot=sys.argv[3])
print(json.dumps([[one.label, one.probability] for one in said]))
"""


def test_a_bundle_predicts_from_raw_images_in_another_process(classifier, tmp_path):
    """The zip alone is enough: bytes of pictures in, names of classes out, and the plot is drawn."""
    ck.save_model(classifier, tmp_path / "tiny.zip")
    np.save(tmp_path / "images.npy", IMAGES)
    said = classifier.predict(IMAGES)
    assert sum(said[0].probabilities.values()) == pytest.approx(1, abs=1e-6)
    files = [str(tmp_path / name) for name in ("tiny.zip", "images.npy", "said.png")]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "KERAS_BACKEND": keras.backend.backend(),
    }
    done = subprocess.run([sys.executable, "-c", USE, *files], env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[one.label, one.probability] for one in said]
    assert (tmp_path / "said.png").read_bytes()[:4] == b"\x89PNG"
    loaded = ck.load_model(tmp_path / "tiny.zip")
    assert (loaded.labels, loaded.metrics) == (("cat", "dog", "emu"), {"accuracy": 0.5})
    assert loaded.versions["keras"] == keras.__version__


def test_raw_images_come_in_any_usual_shape(classifier):
    """One image or many, flat or with its channel, give the same; other shapes and NaN are refused."""
    due = [one.label for one in classifier.predict(IMAGES)]
    for raw in (IMAGES.reshape(5, 16), IMAGES[..., None], IMAGES.tolist()):
        assert [one.label for one in classifier.predict(raw)] == due
    assert classifier.predict(IMAGES[0])[0].label == due[0]
    for wrong in (IMAGES[:, :3], np.zeros(0), np.full((4, 4), np.nan), np.array(["a"]), [[1, 2], [3]]):
        with pytest.raises(DataError):
            classifier.predict(wrong)


def test_the_probability_model_ends_with_a_softmax(classifier):
    """Its outputs are probabilities, equal to those of predict; a model that has a softmax is left as it is."""
    probability_model = classifier.probability_model()
    out = probability_model.predict(classifier.prepare(IMAGES), verbose=0)
    assert out.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert np.allclose(out, classifier.probabilities(IMAGES), atol=1e-6)
    again = Classifier(name="p", model=probability_model, shape=(4, 4, 1), divide_by=255, labels=classifier.labels)
    assert again.probability_model() is probability_model
    assert np.allclose(again.probabilities(IMAGES), out, atol=1e-6)


def test_labels_must_match_the_classes(model):
    """Two names for three classes would name the wrong one."""
    with pytest.raises(DataError, match="3 classes"):
        Classifier(name="tiny", model=model, shape=(4, 4, 1), divide_by=1, labels=("cat", "dog"))


def test_old_paths_say_the_new_form(model, tmp_path):
    """The tutorial's `./checkpoints/my_checkpoint`, a SavedModel folder and a missing ending tell what to write."""
    old = tmp_path / "my_checkpoint"
    with pytest.raises(AddressError, match=r"my_checkpoint\.weights\.h5"):
        ck.save_model(model, old)
    with pytest.raises(AddressError, match="no file"):
        ck.load_model(old)
    old.with_name("my_checkpoint.index").write_bytes(b"")
    with pytest.raises(AddressError, match="checkpoint of TensorFlow"):
        ck.load_model(old)
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(AddressError, match="TFSMLayer"):
        ck.load_model(tmp_path / "saved")
    ck.save_model(model, tmp_path / "mine.keras")
    with pytest.raises(AddressError, match=r"load .*mine\.keras"):
        ck.load_model(tmp_path / "mine")
    with pytest.raises(UnsupportedError, match="preprocessing and labels"):
        ck.save_model(model, tmp_path / "mine.zip")


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", ["tiny.keras", "tiny.weights.h5", "tiny.zip"])
def test_files_that_were_cut_off_are_refused(classifier, tmp_path, name, share):
    """Wherever a file ends too early: a ModelFileError, never a model."""
    path = ck.save_model(classifier, tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFileError, match="tiny"):
        ck.load_model(path, into=classifier.model)


@pytest.mark.parametrize("name", ["config__json", "metadata__json", "model__weights__h5"])
def test_a_damaged_member_is_named(model, tmp_path, name):
    """Left out or filled with rubbish, the message names the member."""
    for value in (None, b"\xffrubbish"):
        path = ck.save_model(model, tmp_path / "model.keras")
        rewritten(path, **{name: value})
        with pytest.raises(ModelFileError, match=name.replace("__", r"\.")):
            ck.load_model(path)


def test_a_model_of_another_keras_says_which(model, tmp_path):
    """A layer with arguments that this Keras does not know: the error names the version that wrote the file."""
    path = ck.save_model(model, tmp_path / "later.keras")
    config = config_of(path)
    config["config"]["layers"][1]["config"]["from_the_future"] = 1
    metadata = json.dumps({"keras_version": "9.9.0", "date_saved": "2031-01-01@00:00:00"})
    rewritten(path, config__json=json.dumps(config), metadata__json=metadata)
    with pytest.raises(ModelFileError, match=r"written by Keras 9\.9\.0"):
        ck.load_model(path)


@pytest.mark.parametrize("member", ["../../home/evil.py", "/etc/evil", "assets/../../evil", "C:\\evil", "evil.pkl"])
def test_members_that_do_not_belong_are_refused(classifier, tmp_path, member):
    """Climbing out of the archive, and a pickle beside the model, in both kinds of file."""
    for name in ("tiny.keras", "tiny.zip"):
        path = ck.save_model(classifier, tmp_path / name)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(zipfile.ZipInfo(member), b"evil")
        with pytest.raises(UnsafeModelError, match="evil"):
            ck.load_model(path, trusted=True)


def test_a_lambda_is_refused_unless_trusted(tmp_path):
    """A Lambda layer is a program; with trusted=True it runs, because the user said so."""
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Lambda(lambda x: x * 2, output_shape=(2,))])
    path = ck.save_model(model, tmp_path / "model.keras")
    with pytest.raises(UnsafeModelError, match="Lambda"):
        ck.load_model(path)
    assert ck.load_model(path, trusted=True).predict(np.ones((1, 2)), verbose=0).tolist() == [[2, 2]]


@pytest.mark.parametrize(
    "hostile",
    [
        {"module": "os", "class_name": "system", "config": {"command": "touch /tmp/evil"}},
        {"module": "keras.utils", "class_name": "function", "config": "get_file"},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {"class_name": "__lambda__", "config": {"value": "4wEA"}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/some/where"}},
        {"module": "keras.src.saving.saving_lib", "class_name": "load_model", "config": {}},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": None, "class_name": "Mine", "registered_name": "mine>Mine", "config": {}},
        {"module": "keras.layers", "class_name": "Dense", "registered_name": "somepkg>Reader", "config": {"units": 1}},
        {"module": "keras.losses", "class_name": "mean_squared_error", "config": {}},
        {"module": "keras.src.layers.core.dense", "class_name": "Dense", "config": {"units": 1}},
        {"module": "keras.src.ops.core", "class_name": "Map", "config": {}},
        {"module": ["keras.layers"], "class_name": "Dense", "config": {}},
    ],
)
def test_classes_that_are_not_plainly_keras_own_are_refused(model, tmp_path, hostile):
    """Functions, modules outside, custom classes and files to read: refused before Keras sees them, place named."""
    path = ck.save_model(model, tmp_path / "model.keras")
    config = config_of(path)
    config["config"]["layers"].append(hostile)
    rewritten(path, config__json=json.dumps(config).encode())
    with pytest.raises(UnsafeModelError, match=r"config\.json\.config\.layers\[\d+\]"):
        ck.load_model(path)


def test_what_the_session_registered_cannot_be_asked_for(model, tmp_path):
    """A file that names it, by whatever key, does not get it; the user who made it passes trusted=True."""

    @keras.saving.register_keras_serializable("somepkg")
    def evil(x):
        raise AssertionError("it ran")

    try:
        path = ck.save_model(model, tmp_path / "model.keras")
        text = json.dumps(config_of(path))
        assert '"relu"' in text
        rewritten(path, config__json=text.replace('"relu"', '"somepkg>evil"').encode())
        with pytest.raises(UnsafeModelError, match="registered in this session"):
            ck.load_model(path)
    finally:
        del keras.saving.get_custom_objects()["somepkg>evil"]


def bomb(layer, **config):
    """Describe a layer that would fill the memory, or write a loop out."""
    return {"module": "keras.layers", "class_name": layer, "registered_name": None, "config": config}


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([bomb("Dense", units=1_000_000_000)], "units"),
        ([bomb("Dense", units=60_000), bomb("Dense", units=60_000)], "more than"),
        ([bomb("Embedding", input_dim=16_000_000, output_dim=16_000_000)], "more than"),
        ([bomb("Dense", units=1) for _ in range(250)], "too many layers"),
        ([{**bomb("Sequential", layers=[bomb("Dense", units=1)] * 2000), "module": "keras"}], "too many layers"),
        ([bomb("Reshape", target_shape=[1_000_000, 3]), bomb("LSTM", units=1, unroll=True)], "loop"),
    ],
)
def test_a_configuration_that_claims_too_much_is_refused(tmp_path, layers, why):
    """Its weights are few, so the model that it describes must be small: nothing is built or waited for."""
    small = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(3)])
    path = ck.save_model(small, tmp_path / "model.keras")
    config = config_of(path)
    for number, layer in enumerate(layers):
        layer["config"]["name"] = f"bomb{number}"
        config["config"]["layers"].append(layer)
    rewritten(path, config__json=json.dumps(config).encode())
    with pytest.raises(UnsafeModelError, match=why):
        ck.load_model(path)


def test_a_file_of_many_names_for_one_group_is_read_once(model, tmp_path):
    """Forty groups that each name the next one twice have 2^40 paths."""
    path = ck.save_model(model, tmp_path / "a.weights.h5")
    with h5py.File(path, "a") as file:
        group = file.create_group("evil")
        for _ in range(40):
            inner = group.create_group("a")
            group["b"] = inner
            group = inner
    ck.load_model(path, into=model)


def test_weights_that_lead_elsewhere_are_refused(model, tmp_path):
    """Links and external storage would read any file of the machine; a shape without bytes would fill its memory."""
    path = ck.save_model(model, tmp_path / "a.weights.h5")
    good = path.read_bytes()
    (tmp_path / "secret").write_bytes(b"x" * 80)

    def link(file):
        file["evil"] = h5py.ExternalLink("secret", "/")

    def elsewhere(file):
        file.create_dataset("evil", (10,), "f8", external=[(str(tmp_path / "secret"), 0, 80)])

    def bomb(file):
        file.create_dataset("evil", (1 << 40,), "f4", chunks=(1 << 20,))

    for damage in (link, elsewhere, bomb):
        path.write_bytes(good)
        with h5py.File(path, "a") as file:
            damage(file)
        with pytest.raises(UnsafeModelError, match=r"evil|arrays of"):
            ck.load_model(path, into=model)
        whole = ck.save_model(model, tmp_path / "model.keras")
        rewritten(whole, model__weights__h5=path.read_bytes())
        with pytest.raises(UnsafeModelError, match=r"model\.weights\.h5"):
            ck.load_model(whole)


def test_a_member_that_unpacks_to_far_too_much_is_refused(model, tmp_path):
    """A zip bomb is seen by its directory, before a byte is unpacked."""
    path = ck.save_model(model, tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        metadata = archive.read("metadata.json")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", metadata)
        archive.writestr("config.json", b" " * (50 << 20))
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(UnsafeModelError, match=r"config\.json.*unpacks"):
        ck.load_model(path)


def test_many_members_that_share_their_bytes_are_refused(model, tmp_path):
    """Each is bearable, all together are not: a bomb of assets."""
    path = ck.save_model(model, tmp_path / "model.keras")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for number in range(9):
            archive.writestr(f"assets/{number}", bytes(31 << 20))
    with pytest.raises(UnsafeModelError, match=r"members of .* unpack to"):
        ck.load_model(path)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"format": 99}, NewerFormatError),
        ({"labels": ["cat"]}, ModelFileError),
        ({"labels": "abc"}, ModelFileError),
        ({"shape": [-1]}, ModelFileError),
        ({"divide_by": 0}, ModelFileError),
        ({"model_sha256": "0" * 64}, ModelFileError),
        ({"metrics": []}, ModelFileError),
    ],
)
def test_a_bundle_that_contradicts_itself_is_refused(classifier, tmp_path, changed, error):
    """Another format, labels that do not fit, values of the wrong type, a model that was exchanged."""
    path = ck.save_model(classifier, tmp_path / "tiny.zip")
    with zipfile.ZipFile(path) as archive:
        description = json.loads(archive.read("bundle.json"))
    rewritten(path, bundle__json=json.dumps(description | changed).encode())
    with pytest.raises(error, match="tiny"):
        ck.load_model(path)


def test_a_failed_save_leaves_what_was_there(model, tmp_path):
    """If saving breaks in the middle, the older file stays whole and no leftover is found."""
    path = ck.save_model(model, tmp_path / "model.keras")
    before = path.read_bytes()

    class Broken(keras.layers.Layer):
        def get_config(self):
            raise ValueError("the user's own")

    broken = keras.Sequential([keras.layers.Input((2,)), Broken()])
    with pytest.raises(ValueError, match="the user's own"):
        ck.save_model(broken, path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["model.keras"]
    assert io.BytesIO(before).read(2) == b"PK"


def test_what_is_no_model_of_keras_is_refused_in_words(tmp_path):
    """One of scikit-learn, or a variable that was never set."""
    for nothing in (None, object()):
        with pytest.raises(UnsupportedError, match="no model of Keras"):
            ck.save_model(nothing, tmp_path / "mine.keras")
    assert not list(tmp_path.iterdir())
