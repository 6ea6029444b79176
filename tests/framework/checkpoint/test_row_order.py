"""Claims about lists in a `tf.data` pipeline that Python shuffled: their order comes back, other data does not."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="TensorFlow is missing; pip install tensorflow")

from colabkit.checkpoint.keras.data.tf.graph import PipelineGraph  # noqa: E402 - imports Keras
from colabkit.checkpoint.keras.data.tf.pipeline import SeededDataset  # noqa: E402 - as above
from colabkit.checkpoint.keras.data.validation import Validation  # noqa: E402 - as above

FILES = [f"/here/pictures/{label}/{number}{'0' * 130 * (number % 2)}.png" for label in "ab" for number in range(8)]
LABELS = [int("/b/" in name) for name in FILES]


@pytest.fixture(autouse=True)
def no_seed():
    """Leave out the seed that a test before has set for all of TensorFlow."""
    tf.random.set_seed(None)


def shuffled(seed, *, files=FILES, labels=LABELS):
    """Shuffle files and labels as `image_dataset_from_directory` does."""
    at = np.random.default_rng(seed).permutation(len(files))
    return np.array(files)[at], np.array(labels, np.int32)[at]


def as_keras(files, labels):
    """Build the pipeline of `image_dataset_from_directory(..., label_mode="categorical")`, without its pictures."""
    one_hot = tf.data.Dataset.from_tensor_slices(labels).map(lambda label: tf.one_hot(label, 2), num_parallel_calls=2)
    both = tf.data.Dataset.zip((tf.data.Dataset.from_tensor_slices(files), one_hot))
    return both.shuffle(8, seed=4).map(lambda name, label: (tf.strings.lower(name), label)).batch(4).prefetch(1)


def of_all(dataset):
    """Read all batches of the first two passes."""
    return [[np.asarray(part).tolist() for part in batch] for number in (0, 1) for batch in dataset.open(number)]


def takes_over(first, second):
    """Let a second process take over the order of a first; says whether it did, and gives both."""
    begun = SeededDataset(first, seed=1, saved={})
    continued = SeededDataset(second, seed=1, saved=begun.identity)
    return continued.arrange(begun.identity, begun.orders), begun, continued


def test_files_and_labels_come_in_the_order_of_before():
    """The second process has the graph of the first: the same batches, and the same identity, which is checked."""
    took, begun, continued = takes_over(as_keras(*shuffled(1)), as_keras(*shuffled(2)))
    assert took
    assert continued.identity == begun.identity
    assert of_all(continued) == of_all(begun)
    third = SeededDataset(as_keras(*shuffled(3)), seed=1, saved=continued.identity)
    assert third.arrange(continued.identity, continued.orders)
    assert of_all(third) == of_all(begun)


def test_a_cache_over_shuffles_without_seeds_is_filled_alike():
    """What is built once, below a cache, has the seeds of the run from the first time on."""

    def build():
        files = tf.data.Dataset.from_tensor_slices(FILES).shuffle(16)
        return files.map(lambda name: (name, 1), num_parallel_calls=2).cache().shuffle(16).batch(4)

    first, second = (SeededDataset(build(), seed=1, saved={}) for _ in range(2))
    assert of_all(second) == of_all(first)


def test_files_in_another_folder_are_the_same_rows():
    """The folder of all is another one on another machine; the names and labels below it count."""
    moved = [name.replace("/here/", "/content/drive/") for name in FILES]
    took, begun, continued = takes_over(as_keras(*shuffled(1)), as_keras(*shuffled(2, files=moved)))
    assert took
    names = [[name.replace(b"/content/drive/", b"/here/") for name in batch[0]] for batch in of_all(continued)]
    assert names == [batch[0] for batch in of_all(begun)]


@pytest.mark.parametrize("change", ["a label for another", "a file more", "another file"])
def test_other_rows_are_left_as_they_are(change):
    """Two files that have exchanged their labels are other data, too; the names that are checked stay others."""
    files, labels = list(FILES), list(LABELS)
    if change == "a label for another":
        labels[0], labels[-1] = labels[-1], labels[0]
    elif change == "a file more":
        files, labels = [*files, "/here/pictures/b/8.png"], [*labels, 1]
    else:
        files[3] = "/here/pictures/a/new.png"
    took, begun, continued = takes_over(as_keras(*shuffled(1)), as_keras(*shuffled(2, files=files, labels=labels)))
    assert not took
    assert continued.identity["names"] != begun.identity["names"]


def test_exchanged_labels_in_the_same_order_are_other_data():
    """Where the list comes in the same order the fingerprint tells it, as ever."""
    labels = [1, *LABELS[1:-1], 0]
    graphs = [PipelineGraph(as_keras(*shuffled(1, labels=each))) for each in (LABELS, labels)]
    assert graphs[0].data["fingerprint"] != graphs[1].data["fingerprint"]
    assert graphs[0].data["rows"] != graphs[1].data["rows"]


def test_labels_beside_the_list_keep_it_as_it_is():
    """Labels that a function looks up by the number of the file follow from the order, and nobody can arrange them."""

    def build(files, labels):
        known = tf.constant(labels)
        return tf.data.Dataset.from_tensor_slices(files).enumerate().map(lambda at, name: (name, known[at])).batch(4)

    assert not takes_over(build(*shuffled(1)), build(*shuffled(2)))[0]
    assert takes_over(build(*shuffled(1, labels=[0] * 16)), build(*shuffled(2, labels=[0] * 16)))[0]


def test_lists_that_go_together_in_a_way_that_nobody_sees_stay():
    """Texts and words for labels in batches of their own: which text has which word is not known."""

    def build(files, labels):
        parts = [tf.data.Dataset.from_tensor_slices(part).batch(2) for part in (files, np.array(["a", "b"])[labels])]
        return tf.data.Dataset.zip(tuple(parts))

    assert not takes_over(build(*shuffled(1)), build(*shuffled(2)))[0]


def test_a_table_of_words_does_not_count_as_another_value():
    """The words of a vocabulary come in any order; another vocabulary does."""

    def build(seed, words):
        keys, values = tf.constant(words), tf.range(len(words), dtype=tf.int64)
        table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), -1)
        return tf.data.Dataset.from_tensor_slices(shuffled(seed)).map(lambda name, label: (table.lookup(name), label))

    assert takes_over(build(1, ["a", "b", "c"]), build(2, ["a", "b", "c"]))[0]
    assert not takes_over(build(1, ["a", "b", "c"]), build(2, ["b", "a", "c"]))[0]


def test_windows_of_a_series_come_in_the_order_of_before():
    """`timeseries_dataset_from_array(shuffle=True)` shuffles where its windows begin; another series is other data."""
    import keras

    def build(factor=1.0):
        series = np.arange(40, dtype="float32") * factor
        return keras.utils.timeseries_dataset_from_array(series[:-5], series[5:], 5, shuffle=True, batch_size=8)

    np.random.seed(1)
    first, second, other = build(), build(), build(2.0)
    took, begun, continued = takes_over(first, second)
    assert took
    assert of_all(continued) == of_all(begun)
    assert not takes_over(first, other)[0]


@pytest.mark.parametrize(("chosen", "told"), [(FILES[4:12], False), (FILES[5:13], True)])
def test_files_of_a_validation_are_those_of_before_or_it_is_told(chosen, told, caplog):
    """Files alone, in random order, as they are chosen or chosen anew; a later process knows the kept order, too."""
    logging.getLogger("colabkit").propagate = True

    def saved(files, before=None):
        dataset = tf.data.Dataset.from_tensor_slices(
            np.random.default_rng(0 if told else len(kept)).permutation(files)
        ).batch(2)
        validation, tensors = Validation("run", dataset), {}
        if before is not None:
            validation.restore(before)
        kept.append(SimpleNamespace(meta=validation.capture(tensors), tensors=tensors))
        return kept[-1]

    kept = []
    first = saved(FILES[4:12])
    saved(chosen, saved(FILES[4:12], first))
    assert ("the validation data is other than before" in caplog.text) == told
    if not told:
        assert {each.tensors["validation/order/0"].tobytes() for each in kept} == {
            first.tensors["validation/order/0"].tobytes()
        }


def test_a_state_of_before_has_no_orders():
    """A run that an older colabkit began is read: its data is checked as it was then."""
    begun = SeededDataset(as_keras(*shuffled(1)), seed=1, saved={})
    older = {name: value for name, value in begun.identity.items() if name not in ("rows", "others")}
    assert not SeededDataset(as_keras(*shuffled(2)), seed=1, saved=older).arrange(older, [])
    again = SeededDataset(as_keras(*shuffled(1)), seed=1, saved=older)
    assert not again.arrange(older, [])
    assert of_all(again) == of_all(begun)
