"""Claims about variables that take their order from a set of text or a folder: another process has another one."""

from __future__ import annotations

import re
import signal
import sys
import types

import pytest

from colabkit.checkpoint.policy import set_order, source_order
from colabkit.errors import RunMismatchError

SETS, LISTINGS = set_order.KEY, set_order.LISTED_KEY
FOUND = {
    "classes = list(set(names))": {"classes"},
    "classes = sorted(set(names))": set(),
    "classes = sorted(list(set(names)))": set(),
    "classes = list(set(names)); classes.sort()": set(),
    "index = {c: i for i, c in enumerate(set(names))}": {"index"},
    "vocab = set(names)\nindex = dict(zip(vocab, range(9)))": {"index"},
    "vocab = set(names)\nvocab = sorted(vocab)\nindex = {c: i for i, c in enumerate(vocab)}": set(),
    "vocab = set(names) | {'x'}\nindex = {}\nfor word in vocab:\n    index[word] = len(index)": {"index"},
    "seen = []\nfor word in set(names):\n    seen.append(word)": {"seen"},
    "for word in set(names):\n    last = word": set(),
    "count = len(set(names)); numbers = list(set([3, 1]))": set(),
    "words = ['<pad>'] + list(set(names))": {"words"},
    "words = ['<pad>', *set(names)]": {"words"},
    "words = ['<pad>']\nwords += list(set(names))": {"words"},
    "words = ['<pad>']\nwords.extend(set(names))": {"words"},
    "words = [w for w in names if w in set(names)]": set(),
    "import numpy as np\nclasses = np.array(list(set(names)))": {"classes"},
    "import numpy as np\nclasses = np.unique(list(set(names)))": set(),
    "def classes_of(names):\n    found = set(names)\n    return list(found)\nclasses = classes_of(names)": {"classes"},
    "def classes_of(names):\n    return sorted(set(names))\nclasses = classes_of(names)": set(),
    "try:\n    classes = tuple({*names})\nexcept NameError:\n    pass": {"classes"},
    "few = list(set(names))[:2]": {"few"},
    "pairs = list({(a, 1) for a in names})": {"pairs"},
}


LISTED = {
    "classes = os.listdir(root)": {"classes"},
    "classes = sorted(os.listdir(root))": set(),
    "classes = os.listdir(root)\nclasses.sort()": set(),
    "classes = [d for d in os.listdir(root) if os.path.isdir(os.path.join(root, d))]": {"classes"},
    "classes = [p.name for p in Path(root).iterdir()]": {"classes"},
    "classes = [p.name for p in sorted(Path(root).iterdir())]": set(),
    "folders = list(Path(root).glob('*'))": {"folders"},
    "folders = glob.glob(root + '/*')": {"folders"},
    "index = {c: i for i, c in enumerate(os.listdir(root))}": {"index"},
    "index = {}\nfor i, c in enumerate(os.listdir(root)):\n    index[c] = i": {"index"},
    "names = dict(enumerate(os.listdir(root)))": {"names"},
    "classes = next(os.walk(root))[1]": {"classes"},
    "files = os.listdir(root + '/cat')": set(),
    "count = len(os.listdir(root))": set(),
    "label = {}\nfor c in os.listdir(root):\n    for f in os.listdir(root + '/' + c):\n        label[f] = 1": set(),
    "speaker = {f: i for i, f in enumerate(os.listdir(root + '/cat'))}": {"speaker"},
}


@pytest.mark.parametrize("text", LISTED)
def test_classes_in_the_order_of_a_folder_are_found(monkeypatch, tmp_path, text):
    """Names of classes, and what has numbers; files are samples, whose order a dataset keeps."""
    for name in ("cat", "dog", "bird"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
        (tmp_path / name / "2.png").touch()
    names = {*re.findall(r"^ *(\w+) =", text, re.MULTILINE)}
    given = f"import os, glob\nfrom pathlib import Path\n{text}\nuse = [{', '.join(names)}]"
    program(monkeypatch, given, root=str(tmp_path))
    assert set(set_order.take().get(LISTINGS, {})) == LISTED[text]


def test_classes_in_another_order_of_the_folder_are_refused(monkeypatch, caplog):
    """As after the data was unpacked on another machine; the line that is told gives the order back."""
    before = {LISTINGS: {"classes": ["dog", "cat"]}}
    space = program(monkeypatch, "import os\nclasses = os.listdir(root)\nfirst = classes[0]", root="/")
    space["classes"] = ["cat", "dog"]
    with pytest.raises(RunMismatchError, match=r"(?s)a folder, .*classes = \['dog', 'cat'\], in place of the list"):
        set_order.check("digits", before, refuse=True)
    set_order.check("digits", before, refuse=False)
    set_order.tell("digits", before)
    told = caplog.text
    assert "classes has another order" in told
    assert "digits: classes: the order is that of a folder, and is another one on another machine" in told


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("x = [[hash(w) % 50 for w in t.split()] for t in texts]", True),
        ("class A:\n    def __hash__(self):\n        return hash(1)", False),
        ("import zlib\nx = [zlib.crc32(w.encode()) for w in texts]", False),
    ],
)
def test_numbers_by_hash_are_told(monkeypatch, caplog, text, is_told):
    """Splits and numbers of words by `hash(text)` are others in each process."""
    monkeypatch.setattr(set_order, "_are_hashes_drawn", lambda: True)
    program(monkeypatch, text, texts=["a cat"])
    set_order.tell("digits", {})
    assert ("hash() of text gives other numbers" in caplog.text) == is_told
    caplog.clear()
    set_order.check("digits", {}, refuse=True)
    assert ("hash() of text gives other numbers" in caplog.text) == is_told


def program(monkeypatch, text, **given):
    """Let the text be the program that runs."""
    main = types.ModuleType("__main__")
    vars(main).update(given, _ih=["", text])
    exec(text, vars(main))  # noqa: S102 - as Python runs it
    monkeypatch.setitem(sys.modules, "__main__", main)
    return vars(main)


@pytest.mark.parametrize("text", FOUND)
def test_what_comes_out_of_a_set_of_text_is_found(monkeypatch, text):
    """Lists, dicts and arrays by their names; nothing that is sorted, counted, or of numbers."""
    names = {*re.findall(r"^ *(\w+) =", text, re.MULTILINE)} - {"last", "found"}
    program(monkeypatch, f"{text}\nuse = [{', '.join(names)}]", names=["cat", "dog", "bird", "dog"])
    assert set(set_order.take().get(SETS, {})) == FOUND[text]


def test_what_a_module_of_the_users_takes_out_of_a_set_is_found(monkeypatch, tmp_path):
    """As `from data import classes`, or `data.classes`: the module is read as the program is."""
    text = "classes = list(set(names))\ndef pick(names):\n    return list(set(names))\n"
    text += "only_in_this_module = list({'a', 'b'})\n"
    module = types.ModuleType("data_of_a_user")
    module.names, path = ["cat", "dog", "bird"], tmp_path / "data_of_a_user.py"
    path.write_text(text)
    exec(text, vars(module))  # noqa: S102 - as Python runs it
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "data_of_a_user", module)
    given = {"data": module, "pick": module.pick, "names": module.names}
    space = program(monkeypatch, "few = pick(names)\nuse = [data.classes[0], few[0]]", **given)
    orders = set_order.take()
    assert set(orders[set_order.KEY]) == {"data_of_a_user:classes", "few"}
    set_order.check("digits", orders, refuse=True)
    module.classes.reverse()
    with pytest.raises(RunMismatchError, match="data_of_a_user:classes has another order"):
        set_order.check("digits", orders, refuse=True)
    space["few"].reverse()
    module.classes.reverse()
    with pytest.raises(RunMismatchError, match="few has another order"):
        set_order.check("digits", orders, refuse=True)


def test_words_that_are_only_looked_up_may_come_in_any_order(monkeypatch):
    """As words that are left out of a text."""
    given = {"names": ["cat", "dog", "bird"], "texts": ["a cat"]}
    look = "words = list(set(names))\nprint(len(words), words)\nleft = [t for t in texts if t not in words]\nwords"
    program(monkeypatch, look, **given)
    assert set_order.take() == {}
    program(monkeypatch, f"{look}\nnumbers = [words.index('cat')]", **given)
    assert set(set_order.take()[SETS]) == {"words"}


def test_the_variables_of_a_running_function_are_found(monkeypatch):
    """As scripts have it that do all in main()."""
    given = {"names": ["cat", "dog", "bird"], "take": set_order.take}
    text = "def main():\n    classes = list(set(names))\n    return take(), classes[0]"
    space = program(monkeypatch, text, **given)
    assert set(space["main"]()[0][SETS]) == {"main.classes"}


def test_words_of_a_layer_in_another_order_are_refused():
    """As of StringLookup(vocabulary=list(set(words))), written into the model; other words are a change like others."""
    setup = pytest.importorskip("colabkit.checkpoint.keras.fit.setup", reason='pip install "keras>=3.11"')
    place = "model.layers[1].config.vocabulary"
    with pytest.raises(RunMismatchError, match=r"(?s)vocabulary has another order.*vocabulary=\['b', 'a'\]") as caught:
        setup.check_vocabularies("digits", {place: "['b', 'a']"}, {place: "['a', 'b']"})
    assert "sorted" not in str(caught.value)
    setup.check_vocabularies("digits", {place: "['b', 'a']"}, {place: "['a', 'b', 'c']"})
    setup.check_vocabularies("digits", {}, {place: "['a', 'b']"})


def test_a_class_that_gives_its_words_otherwise_ends_nothing(monkeypatch):
    """What only looks like a layer with a vocabulary."""

    class Words:
        def __init__(self, words):
            self.words = words

        def get_vocabulary(self, language):
            return self.words[language]

    text = "words = make.Words(list(set(names)))\nfirst = words.words[0]"
    program(monkeypatch, text, names=["a", "b"], make=types.SimpleNamespace(Words=Words))
    assert set_order.take() == {}


def test_a_broken_program_is_no_reason_to_fail(monkeypatch):
    """Cells that never ran, no source at all."""
    space = program(monkeypatch, "classes = list(set(names))\nfirst = classes[0]", names=["a", "b"])
    space["_ih"] += ["for", "\0", "%matplotlib inline"]
    assert set(set_order.take()[SETS]) == {"classes"}
    space["_ih"].append("total = " + " + ".join(["1"] * 950))
    assert set_order.take() in ({}, {SETS: {"classes": space["classes"]}})
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    assert set_order.take() == {}


TRAIN = """
import os, signal, sys
import numpy as np, keras, colabkit as ck
rng = np.random.default_rng(0)
names = np.array(["cat", "dog", "bird", "cow", "horse", "pig", "hen", "fox"])[rng.integers(0, 8, 320)]
y = rng.integers(0, 2, 320)
CLASSES
table = {name: number for number, name in enumerate(classes)}

class Words(keras.utils.PyDataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        part = slice(index * 32, index * 32 + 32)
        return np.array([[table[name]] for name in names[part]]), y[part]

keras.utils.set_random_seed(1)
model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Embedding(8, 4), keras.layers.Flatten(),
                          keras.layers.Dense(2)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
run = ck.open_run(sys.argv[1], every="3 steps")

class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if sys.argv[2] == "kill" and batch == 7:
            run.flush()
            os.kill(os.getpid(), signal.SIGKILL)

model.fit(Words(), epochs=2, verbose=0, callbacks=[Kill(), run.resume(check_data=sys.argv[2] != "go on")])
print("trained")
"""


@pytest.fixture
def train(tmp_path, python):
    """Train with these classes in a process with that seed of hashes; gives its exit code, stdout and stderr."""
    pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
    script = tmp_path / "train.py"
    start = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"

    def begin(classes, what, seed):
        script.write_text(TRAIN.replace("CLASSES", classes))
        return python(start, script, tmp_path / "run", what, PYTHONHASHSEED=seed, KERAS_BACKEND="jax")

    return begin


UNSORTED = "classes = list(set(names.tolist()))"


def test_a_training_whose_numbers_mean_something_else_is_refused(train):
    """Refused after a kill with the line that gives the order back, and that line works; `check_data=False` goes on."""
    code, _, err = train(UNSORTED, "kill", "1")
    assert code == -signal.SIGKILL, err
    code, _, err = train(UNSORTED, "", "2")
    assert code == 1
    assert "classes has another order than when the run run was begun" in err
    line = err[err.index("classes = [") : err.index("], in place of the set") + 1]
    code, _, err = train(line, "kill", "3")
    assert code == -signal.SIGKILL, err
    code, out, err = train(UNSORTED, "go on", "2")
    assert (code, out) == (0, "trained\n"), err
    assert "classes has another order than when the run run was begun, so what is numbered by it" in err


@pytest.mark.parametrize(("seed", "is_told"), [("random", True), ("0", False), ("7", False)])
def test_it_is_told_where_python_draws_the_hashes_of_text(python, seed, is_told):
    """Before the first step, so that the line is mended before days of training; a seed set too late is none."""
    code = "import os; os.environ['PYTHONHASHSEED'] = '1'\n"
    code += "from colabkit.checkpoint.policy import set_order as orders\n"
    code += "orders.tell('digits', {orders.KEY: {'classes': ['b', 'a']}})"
    code, _, err = python(code, PYTHONHASHSEED=seed)
    assert code == 0, err
    assert ("digits: classes: the order comes from a set of text" in err) == is_told


def test_another_thread_that_parses_is_waited_for(monkeypatch):
    """CPython ends one of two parsers in a SystemError; two runs that save at once end in none."""
    parse, failures = source_order.ast.parse, iter([SystemError("AST constructor recursion depth mismatch")])

    def parse_beside(*args, **options):
        for error in failures:
            raise error
        return parse(*args, **options)

    program(monkeypatch, "classes = list(set(names))\nfirst = classes[0]", names=["a", "b"])
    monkeypatch.setattr(source_order.ast, "parse", parse_beside)
    assert set(set_order.take()[SETS]) == {"classes"}
