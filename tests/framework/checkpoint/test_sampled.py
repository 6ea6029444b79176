"""A pipeline that samples from several data sets, stopped at every batch: it goes on, or is known not to."""

import threading

import pytest

tf = pytest.importorskip("tensorflow", reason="TensorFlow is missing; pip install tensorflow")

from colabkit.checkpoint.keras.data.tf import pipeline as tfdata  # noqa: E402 - imports Keras

PIPELINES = {
    "sampled": lambda a, b: tf.data.Dataset.sample_from_datasets([a, b], [0.5, 0.5], seed=1).batch(4),
    "of three": lambda a, b: tf.data.Dataset.sample_from_datasets([a, b, a.take(3)], seed=1).batch(4).prefetch(2),
    "in turn": lambda a, b: tf.data.Dataset.choose_from_datasets(
        [a, b], tf.data.Dataset.range(2).repeat(), stop_on_empty_dataset=False
    ).batch(4),
    "twice": lambda a, b: tf.data.Dataset.sample_from_datasets([a, b], [0.5, 0.5], seed=1).batch(4).repeat(2),
    "zipped": lambda a, b: tf.data.Dataset.zip(tf.data.Dataset.sample_from_datasets([a, b], seed=1), a.repeat()).batch(
        4
    ),
    "until one ends": lambda a, b: tf.data.Dataset.sample_from_datasets(
        [a, b], seed=1, stop_on_empty_dataset=True
    ).batch(4),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_the_rest_of_an_epoch_comes_or_is_read_again(name):
    """Where the restored iterator would wait for ever, and nowhere else in the first half, it is read again."""
    numbers = tf.data.Dataset.range(32)
    dataset = PIPELINES[name](numbers.take(8), numbers.skip(8))
    whole = [str(batch) for batch in dataset]
    live, again = iter(dataset), []
    for done in range(len(whole)):
        files = {name.removeprefix("data/"): content for name, content in tfdata._write_iterator(live).items()}
        if tfdata._forgets_an_end(files):
            again.append(done)
        else:
            restored = iter(dataset)
            tfdata._read_iterator(restored, files)
            assert _drained(restored) == whole[done:]
        next(live)
    assert 0 not in again
    assert bool(again) == (name != "until one ends")


def _drained(iterator):
    """Read what is left, in a thread that the process does not wait for."""
    batches = []
    ended = threading.Event()

    def read():
        batches.extend(str(batch) for batch in iterator)
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert ended.wait(20), "it waits for ever"
    return batches
