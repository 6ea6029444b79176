"""Notebooks as people write them, ported: what each cell becomes, what stays, and what is refused."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys

import pytest

from colabkit.cli import main
from colabkit.errors import ExistsError, NotebookError, NotFoundError
from colabkit.port import port

FIRST = "import colabkit as ck  # where it is missing: %pip install its wheel or its git address first"
SHIM = "ck.colab_shim()  # google.colab where Colab's own is missing"
TOKEN = "hf_" + "aB3" * 11


def notebook(path, *cells, **metadata):
    """Write a notebook of code cells with outputs and ids."""
    values = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": number,
                "id": f"cell-{number}",
                "metadata": {"cellView": "form"},
                "outputs": [{"name": "stdout", "output_type": "stream", "text": ["héllo\n"]}],
                "source": cell.splitlines(keepends=True),
            }
            for number, cell in enumerate(cells)
        ],
        "metadata": metadata or {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def ported(tmp_path, *cells, name="train.ipynb", **options):
    """Port a notebook of cells; return its cells afterwards without the new first one, and the report."""
    report = port(notebook(tmp_path / name, *cells), tmp_path / "train.ported.ipynb", **options)
    again = port(report.output, write=False)
    assert again.text == report.text, "porting twice changes nothing"
    after = ["".join(cell["source"]) for cell in json.loads(report.text)["cells"]]
    first = [cell for cell in after if cell.startswith(("import colabkit", "ck.colab_shim"))]
    return after[len(first) :], report


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("!pip install -q keras", 'ck.install("keras")'),
        ("! pip install -U --quiet 'keras>=3' polars  # new", 'ck.install("keras>=3", "polars", upgrade=True)  # new'),
        ("%pip install -qU six", 'ck.install("six", upgrade=True)'),
        ("pip install six", 'ck.install("six")'),
        ("!pip install -q sklearn six", 'ck.install("scikit-learn", "six")'),
        ("!pip install tf-nightly-2.0-preview", 'ck.install("tensorflow")'),
        ("!pip install -U PIL pytorch", 'ck.install("pillow", "torch", upgrade=True)'),
        ("!pip install bs4 scikit-learn sklearn-crfsuite", 'ck.install("bs4", "scikit-learn", "sklearn-crfsuite")'),
        ("!pip3 install six &> /dev/null", 'ck.install("six")'),
        (
            "!pip install -q --no-deps git+https://example.org/x",
            'ck.install("pip install -q --no-deps git+https://example.org/x")',
        ),
        ("n = 1\n!pip install --pre six=={n}", 'n = 1\nck.install(f"pip install --pre six=={n}")'),
        ("!pip install six > /dev/null 2>&1", 'ck.install("six")'),
        ("!pip install tensorflow>=2.0", 'ck.install("tensorflow>=2.0")'),
        ("import sys\n!{sys.executable} -m pip install six", 'import sys\nck.install("six")'),
        ("v = '1.16'\n!pip install six=={v} polars", 'v = \'1.16\'\nck.install(f"six=={v}", "polars")'),
        ("!pip install -r requirements.txt", 'ck.install("requirements.txt")'),
        (
            "!pip install x --index-url https://example.org/simple",
            'ck.install("x", index_url="https://example.org/simple")',
        ),
        (
            "try:\n    import six\nexcept ImportError:\n    !pip install six",
            'try:\n    import six\nexcept ImportError:\n    ck.install("six")',
        ),
        (
            "if True:\n  !pip install \\\n    six \\\n    polars\nx = 1",
            'if True:\n  ck.install("six", "polars")\nx = 1',
        ),
        ("%%capture\n!pip install six", '%%capture\nck.install("six")'),
        ("x = !pip install six", None),
        ("!pip install {unknown}", None),
        ("!pip install", None),
        ("!pip install six \\", 'ck.install("six")'),
        ("text = '''\n!pip install six\n'''", None),
        ("f(\n!pip install six\n)", None),
        ("%%bash\npip install six", 'ck.install("six")'),
        ("%%writefile a.py\nimport google.colab", None),
        ("print 'old'\n!pip install six", None),
    ],
)
def test_what_installs_becomes_install(tmp_path, before, after):
    """Options that only quiet pip go, upgrades and indexes are named, and what cannot be said stays as it is."""
    cells, report = ported(tmp_path, before)
    assert cells == [after or before]
    assert bool(report.changes) == bool(after)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("!pip install six || true", "goes on where it fails"),
        ("!pip install -q six 2>/dev/null || echo 'no six'", "goes on where it fails"),
        ("%pip install six || :", "goes on where it fails"),
        ("!pip install six || pip install seven", "more than one command"),
        ("!pip install os pandas", "os belongs to Python itself"),
        ("!pip3 install -q glob", "glob belongs to Python itself"),
    ],
)
def test_a_line_of_pip_that_may_fail_stays(tmp_path, line, reason):
    """It is told in a line of output, behind which a notebook goes on; `install` would raise."""
    cells, report = ported(tmp_path, line)
    assert cells == [line]
    assert [(reason in kept.reason, kept.works) for kept in report.kept] == [(True, "more than" not in reason)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("!pip install six  # it's needed", 'ck.install("six")  # it\'s needed'),
        ('!pip install "six>=1"  # as "new" as it gets', 'ck.install("six>=1")  # as "new" as it gets'),
        ("%pip install -q six #once", 'ck.install("six")  #once'),
        (
            "!wget 'https://example.org/a #1.csv'  # it's big",
            "ck.fetch(\"wget 'https://example.org/a #1.csv'\")  # it's big",
        ),
        (
            "!pip install git+https://example.org/x#egg=x  # 'x'",
            "ck.install(\"pip install git+https://example.org/x#egg=x\")  # 'x'",
        ),
    ],
)
def test_a_comment_behind_a_command_stays_behind_it(tmp_path, before, after):
    """Whatever it holds; a mark within quotes or an address begins none."""
    assert ported(tmp_path, before)[0] == [after]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "!wget -q https://example.org/a.zip -O data/a.zip",
            'ck.fetch("wget -q https://example.org/a.zip -O data/a.zip")',
        ),
        (
            "url = 'https://example.org/a.csv'\n!wget {url}",
            "url = 'https://example.org/a.csv'\nck.fetch(f\"wget {url}\")",
        ),
        ('url = f()\n!curl -L "$url" -o x.csv', "url = f()\nck.fetch(f'curl -L \"{url}\" -o x.csv')"),
        ("!wget $URL", None),
        ("!curl -X POST https://example.org/api -d '{}'", None),
        (
            "!kaggle datasets download -d ada/digits --unzip",
            'ck.fetch("kaggle datasets download -d ada/digits --unzip")',
        ),
        ("!unzip -q a.zip -d data", 'ck.fetch("unzip -q a.zip -d data")'),
        (
            "import gdown\ngdown.download('https://drive.google.com/uc?id=" + "1" * 33 + "', 'x.zip', quiet=False)",
            "ck.fetch('https://drive.google.com/uc?id=" + "1" * 33 + "', 'x.zip')",
        ),
        (
            "import kagglehub\npath = kagglehub.dataset_download('ada/digits')\nprint(path)",
            'path = str(ck.fetch("kaggle:ada/digits"))\nprint(path)',
        ),
        ("import opendatasets as od\nod.download(link)", 'ck.fetch(link, "./")'),
        (
            "import urllib.request\nurllib.request.urlretrieve('https://example.org/a', 'b')",
            "import urllib.request\nck.fetch('https://example.org/a', 'b')",
        ),
        ("import urllib.request\np, _ = urllib.request.urlretrieve('https://example.org/a', 'b')", None),
        ("from google.colab import drive\ndrive.mount('/content/drive')", "ck.drive.mount('/content/drive')"),
        (
            "from google.colab import userdata\nimport os\nos.environ['HF_TOKEN'] = userdata.get('HF_TOKEN')",
            "import os\nos.environ['HF_TOKEN'] = ck.secret('HF_TOKEN')",
        ),
        ("from kaggle_secrets import UserSecretsClient\nk = UserSecretsClient().get_secret('K')", "k = ck.secret('K')"),
        (
            f"from huggingface_hub import login\nlogin(token='{TOKEN}')",
            'from huggingface_hub import login\nlogin(token=ck.secret("HF_TOKEN"))',
        ),
        (
            "import os\nos.environ['KAGGLE_KEY'] = '" + "0a" * 16 + "'",
            "import os\nos.environ['KAGGLE_KEY'] = ck.secret(\"KAGGLE_KEY\")",
        ),
        ("commit = '" + "0a" * 20 + "'", None),
        (f"!huggingface-cli login --token {TOKEN}", None),
        (
            f"!wget --header=Authorization:{TOKEN} https://example.org/a -O a",
            "ck.fetch(f'wget --header=Authorization:{ck.secret(\"HF_TOKEN\")} https://example.org/a -O a')",
        ),
        ("!wget", None),
        ("%tensorboard --logdir logs/fit", 'ck.tensorboard("logs/fit")'),
        ("%tensorboard --logdir {folder} --port 6007", None),
    ],
)
def test_what_downloads_mounts_or_asks_becomes_colabkits(tmp_path, before, after):
    """A pasted command stays the text that it was, a variable makes it an f-string, and secrets leave the notebook."""
    cells, report = ported(tmp_path, before)
    assert cells == [after or before]
    assert TOKEN not in report.diff() + str(report) + json.dumps(report.to_json())


OPENS = 'run = ck.open_run("runs/train")\n'
KERAS = "import keras\nmodel = keras.Sequential()\nmodel.compile('adam', 'mse')\n"
LISTED = "def listed():\n    mine = [stop]\n    return mine\n"
MINE = "class myCallback(keras.callbacks.Callback): pass\nmine = myCallback()\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("model.fit(x, y)", 'run = ck.open_run("runs/train")\nmodel.fit(x, y, callbacks=[run.resume()])'),
        (
            "h = model.fit(\n    x,\n    epochs=3,  # three\n)",
            OPENS + "h = model.fit(\n    x,\n    epochs=3,  # three\n    callbacks=[run.resume()],\n)",
        ),
        (
            "model.fit(x, y, callbacks=[stop, ], epochs=(3))",
            'run = ck.open_run("runs/train")\nmodel.fit(x, y, callbacks=[stop, run.resume(), ], epochs=(3))',
        ),
        (
            "mine = [stop]\nmodel.fit(x, y, callbacks=mine, epochs=(3))",
            f"mine = [stop]\n{OPENS}model.fit(x, y, callbacks=[*mine, run.resume()], epochs=(3))",
        ),
        (
            "mine = [stop]\nmodel.fit(x, y, callbacks=mine + [save])",
            f"mine = [stop]\n{OPENS}model.fit(x, y, callbacks=[*(mine + [save]), run.resume()])",
        ),
        ("model.fit(x, callbacks=(stop, save))", f"{OPENS}model.fit(x, callbacks=[*(stop, save), run.resume()])"),
        (
            f"{LISTED}model.fit(x, callbacks=listed())",
            f"{LISTED}{OPENS}model.fit(x, callbacks=[*listed(), run.resume()])",
        ),
        (
            f"{MINE}model.fit(x, callbacks=mine)",
            f"{MINE}{OPENS}model.fit(x, callbacks=[mine, run.resume()])",
        ),
        ("model.fit(x, callbacks=unseen)", None),
        ("mine = None\nif stop:\n    mine = [stop]\nmodel.fit(x, callbacks=mine)", None),
        ("model.fit(x, callbacks=[stop] if patient else None)", None),
        ("from transformers import TFAutoModel\nmodel.fit(x, epochs=2)", None),
        (
            "model.fit(x, y)\nmodel.fit(x, y, epochs=9)",
            OPENS
            + """model.fit(x, y, callbacks=[run.phase("fit-1").resume()])
model.fit(x, y, epochs=9, callbacks=[run.phase("fit-2").resume()])""",
        ),
        ("for n in range(3):\n    model.fit(x, y)", None),
        ("model.fit(x, y, **options)", None),
        ("scaler.fit(x)", None),
        ("from statsmodels.api import ARIMA\nmodel = ARIMA(x)\nmodel = model.fit()", None),
        ("from sklearn.svm import SVC\nmodel = SVC()\nmodel.fit(x, y)", None),
        ("back = keras.callbacks.BackupAndRestore('b')\nmodel.fit(x, callbacks=[back])", None),
    ],
)
def test_a_fit_of_keras_gets_what_resumes_it(tmp_path, before, after):
    """Only a call at the top level, once for each training; a scaler's fit is none, and what is unclear stays."""
    cells, report = ported(tmp_path, KERAS, before)
    assert cells == [KERAS, after or before]
    assert [change.kind for change in report.changes] == ["train"] * (after or "").count("callbacks=")


@pytest.mark.parametrize(
    ("before", "argument"),
    [
        (
            "from transformers import Trainer\ntrainer = Trainer(model=m)\ntrainer.train(resume_from_checkpoint=last)",
            "resume_from_checkpoint=",
        ),
        ("from trl import SFTTrainer\nt = SFTTrainer(m)\nt.train(True)", "resume_from_checkpoint="),
        ("import lightning as L\nt = L.Trainer()\nt.fit(m, ckpt_path='last')", "ckpt_path="),
    ],
)
def test_a_trainer_that_continues_by_itself_stays(tmp_path, before, argument):
    """The callback refuses a training that another argument continues, so that what is written would not run."""
    cells, report = ported(tmp_path, before)
    assert cells == [before]
    assert argument in report.kept[0].reason
    search = "from transformers import Trainer\nt = Trainer(model_init=f)\nt.hyperparameter_search(n_trials=9)"
    assert ported(tmp_path, search)[0] == [search]
    harmless = before.replace("=last", "=None").replace("'last'", "None").replace("train(True)", "train()")
    assert "run.resume_" in ported(tmp_path, harmless)[0][0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "from transformers import Trainer\ntrainer = Trainer(model=m, args=a)",
            "trainer = Trainer(model=m, args=a, callbacks=[run.resume_transformers()])",
        ),
        (
            "import lightning as L\nt = L.Trainer(max_epochs=3)",
            "t = L.Trainer(max_epochs=3, callbacks=[run.resume_lightning()])",
        ),
        (
            "import pytorch_lightning as pl\nt = pl.Trainer(callbacks=[a])",
            "t = pl.Trainer(callbacks=[a, run.resume_lightning()])",
        ),
        (
            "from transformers import Trainer\nclass Mine(Trainer): pass\nclass Own(Mine): pass\nt = Own(model=m)",
            "class Mine(Trainer): pass\nclass Own(Mine): pass\n"
            + OPENS
            + "t = Own(model=m, callbacks=[run.resume_transformers()])",
        ),
        ("from fastai.vision.all import *\nlearn.fine_tune(1)", "learn.fine_tune(1, cbs=[run.resume_fastai()])"),
        (
            "from fastai.vision.all import *\nlearn.fit_one_cycle(1, cbs=ShowGraph())",
            "learn.fit_one_cycle(1, cbs=[ShowGraph(), run.resume_fastai()])",
        ),
    ],
)
def test_other_trainers_get_theirs(tmp_path, before, after):
    """The run is opened before the first of them."""
    cells, _ = ported(tmp_path, before)
    head = before.splitlines()[0]
    assert cells == [f"{head}\n{'' if OPENS in after else OPENS}{after}"]


TORCH = """import torch
from torch.utils.data import DataLoader
loader = DataLoader(data)
model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
"""
LOOP = """for epoch in range(3):
    model.train()
    for x, y in loader:
        loss = model(x)
        loss.backward()
        optimizer.step()
    print(epoch)"""


STEP = "   self.loss(x).backward()\n   self.optimizer.step()"


def test_weights_are_written_and_read_under_names_that_keras_3_takes(tmp_path):
    """`cp.ckpt` of older notebooks becomes `cp.weights.h5` wherever it is named; what others wrote is told."""
    cells = (
        "import os\nimport tensorflow as tf\ncheckpoint_path = 'training_1/cp-{epoch:04d}.ckpt'",
        "saver = tf.keras.callbacks.ModelCheckpoint(filepath=checkpoint_path, save_weights_only=True)",
        'model.save_weights("./checkpoints/mine")\nmodel.load_weights("./checkpoints/mine")',
        "model.load_weights(tf.train.latest_checkpoint('there'))\nmodel.load_weights('good.h5')",
        "whole = tf.keras.callbacks.ModelCheckpoint('best.keras')\nmodel.save_weights('a.weights.h5')",
    )
    notebook(tmp_path / "train.ipynb", *cells)
    found = port(tmp_path / "train.ipynb", write=False)
    assert [change.after for change in found.changes if change.kind == "weights"] == [
        "'training_1/cp-{epoch:04d}.weights.h5'",
        '"./checkpoints/mine.weights.h5"',
        '"./checkpoints/mine.weights.h5"',
    ]
    assert [one.line for one in found.kept] == ["model.load_weights(tf.train.latest_checkpoint('there'))"]
    notebook(tmp_path / "old.ipynb", "import tf_keras as keras\nmodel.save_weights('mine')")
    assert not port(tmp_path / "old.ipynb", write=False).changes


def test_a_plain_loop_of_torch_is_rewritten_where_it_is_unmistakable(tmp_path):
    """The loops keep their bodies; a function, an early end or an unknown loader makes it a note."""
    cells, report = ported(tmp_path, TORCH, LOOP)
    assert cells[1] == OPENS + "loop = run.loop(loader, epochs=3, model=model, optimizer=optimizer)\n" + LOOP.replace(
        "range(3)", "loop.each_epoch()"
    ).replace("in loader", "in loop")
    assert not report.kept
    bars = "from tqdm.auto import tqdm\nimport tqdm as bars\n"
    for head, before, after in (
        (bars, "in tqdm(loader):", "in tqdm(loop, initial=loop.batch):"),
        (bars, "in bars.tqdm(loader, leave=False):", "in bars.tqdm(loop, leave=False, initial=loop.batch):"),
    ):
        cells, report = ported(tmp_path, head + TORCH, LOOP.replace("in loader:", before))
        assert after in cells[1]
        assert not report.kept
    for before, epochs, after in (
        ("range(1, 4)", "3", "loop.each_epoch(start=1)"),
        ("range(1, count + 1)", "count", "loop.each_epoch(start=1)"),
        ("range(0, count)", "count", "loop.each_epoch()"),
        ("tqdm(range(1, 1 + count))", "count", "tqdm(loop.each_epoch(start=1))"),
        ("trange(count, desc='epoch')", "count", "tqdm(loop.each_epoch(), desc='epoch')"),
        ("bars.trange(1, 4)", "3", "bars.tqdm(loop.each_epoch(start=1))"),
    ):
        head = bars.replace("tqdm\n", "tqdm, trange\ncount = 3\n", 1)
        cells, report = ported(tmp_path, head + TORCH, LOOP.replace("range(3)", before))
        assert f"run.loop(loader, epochs={epochs}, model" in cells[1]
        assert f"for epoch in {after}:" in cells[1]
        assert not report.kept
    batch = re.search(r"for (.+?) in loader:", LOOP)[1]
    for before, after in (
        ("enumerate(loader)", "enumerate(loop, loop.batch)"),
        ("enumerate(loader, 0)", "enumerate(loop, loop.batch)"),
        ("enumerate(tqdm(loader), start=1)", "enumerate(tqdm(loop, initial=loop.batch), 1 + loop.batch)"),
        (
            "tqdm(enumerate(loader), total=len(loader))",
            "tqdm(enumerate(loop, loop.batch), total=len(loader), initial=loop.batch)",
        ),
        ("tqdm(\n        enumerate(loader),\n    )", "tqdm(enumerate(loop, loop.batch), initial=loop.batch)"),
    ):
        inner = LOOP.replace(f"for {batch} in loader:", f"for number, ({batch}) in {before}:")
        cells, report = ported(tmp_path, bars + TORCH, inner.replace("range(3)", "tqdm(range(3))"))
        assert f"for number, ({batch}) in {after}:" in cells[1]
        assert "in tqdm(loop.each_epoch()):" in cells[1]
        assert not report.kept
    for opened, batches, bar, through in (
        ("tqdm(loader, unit='batch')", batch, "tqdm(loop, unit='batch', initial=loop.batch)", "tepoch"),
        ("tqdm(loader)", f"number, ({batch})", "tqdm(loop, initial=loop.batch)", "enumerate(tepoch)"),
        (
            "tqdm(enumerate(loader))",
            f"number, ({batch})",
            "tqdm(enumerate(loop, loop.batch), initial=loop.batch)",
            "tepoch",
        ),
    ):
        lines = LOOP.replace(f"for {batch} in loader:", f"for {batches} in {through}:").splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith(f"    for {batches}"))
        end = next(number for number, line in enumerate(lines) if number > at and not line.startswith("        "))
        inside = ["        tepoch.set_description(f'Epoch {epoch}')", *(f"    {line}" for line in lines[at:end])]
        opens = "\n".join([*lines[:at], f"    with {opened} as tepoch:", *inside, *lines[end:]])
        cells, report = ported(tmp_path, bars + TORCH, opens)
        assert f"    with {bar} as tepoch:\n" in cells[1]
        counted = through.replace("(tepoch)", "(tepoch, loop.batch)")
        assert f"        for {batches} in {counted}:\n" in cells[1]
        assert not report.kept
    for other in (
        LOOP.replace("    print(epoch)", "    break"),
        LOOP.replace("in loader", "in others"),
        LOOP.replace("range(3)", "range(begin, 3)"),
        "def fit():\n" + "\n".join(f"    {line}" for line in LOOP.splitlines()),
        LOOP.replace("optimizer.step", "self.optimizer.step"),
    ):
        cells, report = ported(tmp_path, TORCH, other)
        assert cells[1] == other
        assert "run.loop(" in report.kept[0].reason


def test_a_loop_gets_the_model_that_its_optimizer_has_at_that_place(tmp_path):
    """A later cell gives the optimizer's name to another model's: `model_2` does not exist at the first loop."""
    other = TORCH[TORCH.index("model = ") :].replace("model", "model_2")
    cells, _ = ported(tmp_path, TORCH, LOOP, other, LOOP.replace("model", "model_2"))
    assert 'run.phase("fit-1").loop(loader, epochs=3, model=model, optimizer=optimizer)' in cells[1]
    assert 'run.phase("fit-2").loop(loader, epochs=3, model_2=model_2, optimizer=optimizer)' in cells[3]
    cells, _ = ported(tmp_path, f"{TORCH}\n{LOOP}\n{other}", LOOP.replace("model", "model_2"))
    assert 'run.phase("fit-1").loop(loader, epochs=3, model=model, optimizer=optimizer)' in cells[0]
    assert 'run.phase("fit-2").loop(loader, epochs=3, model_2=model_2, optimizer=optimizer)' in cells[1]


@pytest.mark.parametrize("between", ["optimizer = sgd(model)", "model_2, optimizer = made()"])
def test_a_loop_whose_optimizer_is_not_seen_there_stays(tmp_path, between):
    """What a later cell makes says nothing of it, and what a function names for itself nothing either."""
    other = TORCH[TORCH.index("model = ") :].replace("model", "model_2")
    _, report = ported(tmp_path, TORCH, between, LOOP, other)
    assert [kept.reason.partition(":")[0] for kept in report.kept] == ["a training loop of your own"]
    inside = "def make():\n    optimizer = torch.optim.SGD(model_2.parameters())\n    return optimizer"
    cells, _ = ported(tmp_path, TORCH, inside, LOOP)
    assert "run.loop(loader, epochs=3, model=model, optimizer=optimizer)" in cells[2]


def test_a_loop_of_torch_without_a_loader_is_rewritten(tmp_path):
    """An epoch of one step becomes a loop of one step; slices keep their `range`, which the run counts."""
    head = TORCH.replace("loader = DataLoader(data)\n", "losses = []\n")
    whole = """for epoch in range(1, 2001):
    # forward
    loss = model(x)

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 100 == 0:
        losses.append(loss.item())"""
    cells, report = ported(tmp_path, head, whole)
    assert (
        cells[1]
        == OPENS
        + """loop = run.loop([0], epochs=2000, model=model, optimizer=optimizer)
for epoch in loop.each_epoch(start=1):
    # forward
    for _ in loop:
        loss = model(x)

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch % 100 == 0:
            losses.append(loss.item())"""
    )
    assert not report.kept
    slices = """for epoch in range(9):
    order = torch.randperm(len(x))
    for i in range(0, len(x), 32):
        model(x[order[i:i + 32]]).backward()
        optimizer.step()"""
    cells, report = ported(tmp_path, head, slices)
    assert cells[1] == OPENS + (
        "loop = run.loop(range(0, len(x), 32), epochs=9, model=model, optimizer=optimizer)\n"
        + slices.replace("range(9)", "loop.each_epoch()").replace("in range(0, len(x), 32)", "in loop")
    )
    assert not report.kept
    bars = "from tqdm.auto import tqdm\n"
    cells, _ = ported(tmp_path, bars + head, slices.replace("i in range(0, len(x), 32)", "i in tqdm(range(count))"))
    assert "run.loop(range(count), epochs=9" in cells[1]
    assert "for i in tqdm(loop, initial=loop.batch):" in cells[1]
    for other in (
        whole.replace("model(x)", "model(next(batches))"),
        whole.replace("model(x)", "model(_)"),
        whole.replace("model(x)", "model('''a\nb''')"),
        slices.replace("len(x), 32", "len(order), 32"),
        "for step in range(9): model(x).backward(); optimizer.step()",
        whole.replace(
            "    loss = model(x)", "    while again:\n     model(x).backward()\n     optimizer.step()\n    loss = 1"
        ),
    ):
        cells, report = ported(tmp_path, head, other)
        assert cells[1] == other
        assert "run.loop(" in report.kept[0].reason


@pytest.mark.parametrize(
    "update",
    [
        "for p in parameters: p.data += -0.1 * p.grad",
        "with torch.no_grad(): w -= w.grad * rate",
        "w.sub_(rate * w.grad)",
    ],
)
def test_a_loop_that_steps_by_hand_is_told(tmp_path, update):
    """Without an optimizer it trains all the same; gradients that are only looked at are no training."""
    before = f"import torch\nfor i in range(9):\n    loss(w).backward()\n    {update}"
    cells, report = ported(tmp_path, before)
    assert cells == [before]
    assert "parameters=parameters" in report.kept[0].reason
    assert not ported(tmp_path, before.replace(update, "print(w.grad)"))[1].kept


def test_the_cells_about_kaggle_json_go_where_nothing_needs_it(tmp_path):
    """The token comes from the secrets; the upload, the folder and the rights of the file are not needed any more."""
    puts = """from google.colab import files
files.upload()
!mkdir -p ~/.kaggle
!cp kaggle.json ~/.kaggle/
!chmod 600 ~/.kaggle/kaggle.json"""
    load = "!kaggle competitions download -c titanic"
    cells, _ = ported(tmp_path, puts, load)
    assert cells == ['ck.fetch("kaggle competitions download -c titanic")']
    upload, _, rest = puts.partition("!mkdir")
    cells, report = ported(tmp_path, upload, f"!mkdir{rest}", load)
    assert len(cells) == 1
    assert not report.kept
    cells, _ = ported(tmp_path, puts, load, "!kaggle competitions submit -c titanic -f a.csv -m x")
    assert cells[0] == puts


@pytest.mark.parametrize(
    ("caught", "stays"),
    [
        ("urllib.error.HTTPError as e", True),
        ("(ValueError, urllib.error.URLError)", True),
        ("Exception as e", False),
        ("(ImportError, OSError)", False),
        ("ImportError", False),
    ],
)
def test_a_download_whose_failure_is_caught_by_its_own_name_stays(tmp_path, caught, stays):
    """`fetch` raises colabkit's errors, so that what the notebook does about a failure would not be done any more."""
    before = (
        "import urllib.request\ntry:\n    urllib.request.urlretrieve(url, name)\n"
        f"except {caught}:\n    print('take it by hand')"
    )
    cells, report = ported(tmp_path, before)
    assert cells == [before if stays else before.replace("urllib.request.urlretrieve", "ck.fetch")]
    assert [one.works for one in report.kept] == [True] * stays
    before = (
        "from google.colab import userdata\ntry:\n    k = userdata.get('K')\nexcept userdata.SecretNotFoundError: pass"
    )
    cells, report = ported(tmp_path, before)
    assert cells == [before]


@pytest.mark.parametrize("line", ["!pip install .", "%pip install -e .[dev]", "!pip install -q ."])
def test_a_clone_that_something_is_built_from_stays(tmp_path, line):
    """A package may read its version from git's history, which an archive has not."""
    clone = "!git clone https://github.com/ada/digits\n%cd digits\n"
    assert ported(tmp_path, clone + line)[0][0].startswith(clone)
    assert ported(tmp_path, clone + "!pip install -r requirements.txt")[0][0].startswith("ck.fetch(")


def test_google_colab_stays_by_the_shim_and_a_question_stays_a_question(tmp_path):
    """What still imports it gets the shim in the first cell; a guarded import asks where it runs and stays as it is."""
    _, report = ported(tmp_path, "from google.colab import files, drive\ndrive.mount('/d')\nfiles.download('x')")
    assert report.cells[0][2] == f"{FIRST}\n{SHIM}"
    _, report = ported(tmp_path, "import pandas as pd\npd.read_csv('/content/sample_data/a.csv')")
    assert report.cells == ((0, "", f"import colabkit as ck\n{SHIM}"),)
    assert not ported(tmp_path, "open('/contents/a', 'https://e.org/content/a', './kaggle/input')")[1].cells
    guarded = "try:\n    from google.colab import drive\n    drive.mount('/d')\nexcept ImportError:\n    pass"
    cells, report = ported(tmp_path, guarded)
    assert cells == [guarded]
    assert report.output.read_text() == (tmp_path / "train.ipynb").read_text()


MOUNTS = "from google.colab import drive\n    drive.mount('/content/drive')"
ASKS = (
    f"import sys\nif 'google.colab' in sys.modules:\n    {MOUNTS}",
    f"import sys\nIN_COLAB = 'google.colab' in sys.modules\nif IN_COLAB:\n    {MOUNTS}",
    f"if 'google.colab' in str(get_ipython()):\n    {MOUNTS}\n    %cd /content",
    f"""try:
    import google.colab
    IN_COLAB = True
except ImportError:
    IN_COLAB = False
if IN_COLAB and True:
    {MOUNTS}""",
    f"""def is_colab():
    try:
        import google.colab
        return True
    except ImportError:
        return False
if is_colab():
    {MOUNTS}""",
    f"import os\nif os.getenv('COLAB_RELEASE_TAG'):\n    {MOUNTS}",
)


@pytest.mark.parametrize("asks", ASKS)
def test_what_only_runs_on_colab_needs_no_shim(tmp_path, asks):
    """The notebook asks where it runs; elsewhere those lines are passed over, and nothing of google.colab is needed."""
    _, report = ported(tmp_path, asks)
    assert "colab_shim" not in report.text
    assert "colab_shim" in ported(tmp_path, f"{asks}\nelse:\n    pass\nopen('/content/a.txt')")[1].text
    assert "colab_shim" in ported(tmp_path, asks, "from google.colab import files")[1].text
    turned = asks.replace("if IN_COLAB", "if not IN_COLAB").replace("if is_colab", "if not is_colab")
    turned = turned.replace("if os", "if not os").replace("if 'google.colab'", "if not 'google.colab'")
    assert "colab_shim" in ported(tmp_path, turned)[1].text


MOUNT = "from google.colab import drive\ndrive.mount('/content/drive')"
ASKED = "import sys\nif 'google.colab' in sys.modules:\n    from google.colab import drive\n    drive.mount('/d')"
TRIED = "try:\n    from google.colab import drive\n    drive.mount('/d')\nexcept ImportError:\n    pass"


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        ([MOUNT, KERAS, "model.fit(x)"], '"drive:runs/train"'),
        ([KERAS, "model.fit(x)", MOUNT], '"runs/train"'),
        ([KERAS, f"{MOUNT}\nmodel.fit(x)"], '"drive:runs/train"'),
        ([ASKED, KERAS, "model.fit(x)"], '"drive:runs/train" if ck.detect().host == "colab" else "runs/train"'),
        (["from google.colab import drive", KERAS, "model.fit(x)"], '"runs/train"'),
        ([TRIED, KERAS, "model.fit(x)"], '"drive:runs/train" if ck.detect().host == "colab" else "runs/train"'),
    ],
)
def test_the_run_is_on_drive_where_drive_is_there(tmp_path, cells, place):
    """Not before the notebook mounts it, and away from Colab not where the notebook mounts it on Colab alone."""
    assert f"run = ck.open_run({place})\n" in "".join(ported(tmp_path, *cells)[0])


@pytest.mark.parametrize("flag", ["IN_COLAB = 'google.colab' in sys.modules\nIN_COLAB = True", "IN_COLAB = True"])
def test_a_flag_that_is_set_by_hand_asks_nothing(tmp_path, flag):
    """The lines under it run away from Colab as well."""
    assert "colab_shim" in ported(tmp_path, f"import sys\n{flag}\nif IN_COLAB:\n    {MOUNTS}")[1].text


def test_data_is_kept_and_runs_lie_where_keep_says(tmp_path):
    """--keep goes to downloads, never to archives that are unpacked, and holds the run."""
    cells, _ = ported(tmp_path, "!wget https://example.org/a.zip\n!unzip a.zip", KERAS + "model.fit(x)", keep="drive:d")
    assert cells[0] == 'ck.fetch("wget https://example.org/a.zip", keep="drive:d")\nck.fetch("unzip a.zip")'.replace(
        "'", '"'
    )
    assert 'run = ck.open_run("drive:d/runs/train")' in cells[1]


def test_names_of_the_notebook_are_not_taken(tmp_path):
    """Where `ck` and `run` are names of the notebook's own, others are used."""
    cells, report = ported(tmp_path, "ck = 1\nrun = wandb.init()\n!pip install six", KERAS + "model.fit(x)")
    assert cells[0].endswith('colabkit.install("six")')
    assert 'ck_run = colabkit.open_run("runs/train")' in cells[1]
    assert report.cells[0][2].startswith("import colabkit  #")


def test_nothing_but_the_changed_cells_differs(tmp_path):
    """Outputs, ids, indent, letters and the last newline stay; a notebook with nothing to port stays byte by byte."""
    source = notebook(tmp_path / "n.ipynb", "!pip install six", "print('ä')")
    report = port(source)
    before, after = json.loads(source.read_text()), json.loads(report.text)
    assert after["cells"][2] == before["cells"][1]
    assert after["cells"][1] == {**before["cells"][0], "source": ['ck.install("six")']}
    assert len(after["cells"][0]["id"]) == 8
    assert report.text.splitlines()[-12:] == source.read_text().splitlines()[-12:]
    plain = notebook(tmp_path / "plain.ipynb", "print('ä')")
    assert port(plain).output.read_bytes() == plain.read_bytes()
    assert port(plain).output.read_bytes() == plain.read_bytes()
    report.output.write_text("mine")
    with pytest.raises(ExistsError):
        port(source)
    assert report.output.read_text() == "mine"


def test_a_script_keeps_its_head_and_parses(tmp_path):
    """The import comes behind the docstring and the imports of the future."""
    script = tmp_path / "train.py"
    script.write_text(
        '#!/usr/bin/env python\n"""Doc."""\nfrom __future__ import annotations\n\nimport os\n!pip install six\n'
    )
    with open(script, "a") as file:
        file.write("get_ipython().system('wget -q https://example.org/a.csv')\n")
        file.write("get_ipython().run_line_magic('pip', 'install polars')\n")
    text = port(script).text
    assert text.endswith('ck.install("six")\nck.fetch("wget -q https://example.org/a.csv")\nck.install("polars")\n')
    assert text.index("__future__") < text.index("import colabkit") < text.index("import os")
    ast.parse(text)


def test_a_script_of_jupytext_has_its_commands_in_comments(tmp_path):
    """There `# !pip install six` is a line of the notebook; in any other script it is a comment."""
    head = "# ---\n# jupyter:\n#   jupytext:\n#     formats: ipynb,py:percent\n# ---\n\n"
    body = (
        "# %% [markdown]\n# Install!\n\n# %%\n# !pip install -q six\n# # !pip install old\n# %matplotlib inline\n"
        "if missing:\n    # !wget -q https://example.org/a.csv\n    pass\n\n# %%\n# !apt-get install -y jq\n"
    )
    (tmp_path / "train.py").write_text(head + body)
    report = port(tmp_path / "train.py")
    after = body.replace("# !pip install -q six", 'ck.install("six")')
    after = after.replace("# !wget -q https://example.org/a.csv", 'ck.fetch("wget -q https://example.org/a.csv")')
    assert report.text.endswith(after)
    assert [one.line for one in report.kept] == ["# !apt-get install -y jq"]
    assert port(report.output, write=False).text == report.text
    (tmp_path / "plain.py").write_text(body.replace("# %%", "# ---"))
    assert not port(tmp_path / "plain.py", write=False).changes


def test_a_script_of_cells_has_its_commands_in_comments(tmp_path):
    """VS Code and Spyder write `# %%` and no header: the lines are read alike, and code comes into a cell of code."""
    script = tmp_path / "train.py"
    head = "#!/usr/bin/env python\n# %% [markdown]\n# # Digits\n\n"
    body = "# %%\n# !pip install -q six\n#%pip install polars\n# # !pip install old\nimport six\n"
    script.write_text(head + body)
    report = port(script)
    after = body.replace("# !pip install -q six\n#%pip install polars", 'ck.install("six")\nck.install("polars")')
    assert report.text == head + after.replace("# %%\n", f"# %%\n\n{FIRST}\n\n")
    assert port(report.output, write=False).text == report.text
    script.write_text("# %%\nimport keras\n\n# %%\n#!wget -q https://example.org/a.csv\n# !apt-get install -y jq\n")
    report = port(script, write=False)
    assert 'ck.fetch("wget -q https://example.org/a.csv")\n# !apt-get' in report.text
    assert [one.line for one in report.kept] == ["# !apt-get install -y jq"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{not json", "it is not JSON"),
        ("[]", "it has no nbformat"),
        ('{"nbformat": 3, "worksheets": []}', "format 3, and only format 4"),
        ('{"nbformat": 4, "cells": 3, "metadata": {}}', "its cells are not a list"),
        ('{"nbformat": 4, "cells": [{"cell_type": "code", "source": 3}], "metadata": {}}', "a cell has no text"),
        ('{"nbformat": 4, "cells": [], "metadata": {"language_info": {"name": "R"}}}', "is in r, and only Python"),
    ],
)
def test_what_is_no_notebook_is_refused(tmp_path, content, words):
    """Each is told in words, and leaves no file."""
    (tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(NotebookError) as caught:
        port(tmp_path / "n.ipynb")
    assert words in f"{caught.value.what} {caught.value.why}"
    assert list(tmp_path.iterdir()) == [tmp_path / "n.ipynb"]
    with pytest.raises(NotFoundError):
        port(tmp_path / "missing.ipynb")


def test_a_folder_is_told_as_one(tmp_path):
    """`colabkit run` takes a folder, and a port takes one file."""
    with pytest.raises(NotebookError, match="is a folder"):
        port(tmp_path)


def test_a_notebook_without_kernel_or_with_fifty_megabytes_is_read(tmp_path):
    """No metadata means Python; large outputs are carried, not looked into."""
    path = notebook(tmp_path / "n.ipynb", "!pip install six")
    values = json.loads(path.read_text())
    values["metadata"] = {}
    values["cells"][0]["outputs"][0]["text"] = ["x" * 50_000_000]
    path.write_text(json.dumps(values))
    assert 'ck.install("six")' in json.loads(port(path).output.read_text())["cells"][1]["source"]


def test_a_notebook_names_itself(tmp_path, monkeypatch, capsys):
    """In a notebook the file may be left out: Jupyter's server tells it; elsewhere the error says to name it."""
    notebook(tmp_path / "n.ipynb", "!pip install six")
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "n.ipynb"))
    assert main(["port", "--diff"]) == 0
    assert "+ck.install" in capsys.readouterr().out
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert main(["port", "--diff"]) == 6


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_line_ends_and_odd_cells_are_kept(tmp_path, ending):
    """Windows' line ends stay; empty cells, cells of other types and a source in one text are no trouble."""
    path = notebook(tmp_path / "n.ipynb", f"!pip install six{ending}x = 1", "")
    values = json.loads(path.read_text())
    values["cells"][0]["source"] = "".join(values["cells"][0]["source"])
    values["cells"] += [{"cell_type": "raw", "metadata": {}, "source": ""}, {"cell_type": "markdown", "source": "# x"}]
    path.write_bytes(json.dumps(values, indent="\t").replace("\n", ending).encode())
    after = json.loads(port(path).output.read_bytes())
    assert after["cells"][1]["source"] == f'ck.install("six"){ending}x = 1'


def test_the_command_shows_the_difference_and_writes_where_it_is_told(tmp_path):
    """--diff writes nothing, --json is one object, and the list names what stays with its reason."""
    notebook(tmp_path / "n.ipynb", "!pip install six\n!apt-get install jq")

    def command(*words):
        done = subprocess.run(
            [sys.executable, "-m", "colabkit", "port", "n.ipynb", *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    text = command("--diff")
    assert '-!pip install six\n+ck.install("six")\n' in text
    assert "cell 1: !apt-get install jq" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.ipynb"]
    said = json.loads(command("-o", "new.ipynb", "--json"))
    assert said["output"] == "new.ipynb"
    assert [change["kind"] for change in said["changes"]] == ["install"]
    assert said["kept"][0]["reason"].startswith("it installs system packages")
    assert json.loads((tmp_path / "new.ipynb").read_text())["nbformat"] == 4


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("![ -f x.zip ] || wget https://example.org/x.zip", "![ -f x.zip ]"),
        ("!cat urls.txt | xargs -n 1 wget -q", "!cat urls.txt"),
        ("!bash <(curl -s https://example.org/x.sh)", "!bash"),
        ("import os\nos.system('pip install six')", "os.system"),
        ("import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', 'six'])", "subprocess.run"),
        ("!python train.py --epochs 3", "!python train.py"),
        ("!yolo train model=yolov8n.pt data=coco128.yaml", "!yolo train"),
        ("!accelerate launch train_dreambooth.py", "!accelerate"),
        ("from ultralytics import YOLO\nYOLO('a.pt').train(data='a.yaml', epochs=3)", "YOLO("),
        ("import keras_tuner as kt\ntuner = kt.Hyperband(f)\ntuner.search(x, y, epochs=5)", "tuner.search"),
        ("import tensorflow as tf\nfor x, y in data:\n    optimizer.apply_gradients(steps(x, y))", "for x, y"),
        (
            "import keras\nfor x, y in data:\n    optimizer.apply(tape.gradient(loss(x, y), weights), weights)",
            "for x, y",
        ),
        (
            "import keras\nfor x, y in data:\n    state = optimizer.stateless_apply(state, grads(x, y), state)",
            "for x, y",
        ),
        ("from flax import nnx\nfor x in data:\n    optimizer.update(m, nnx.value_and_grad(f)(m, x)[1])", "for x in"),
        ("import keras\nwhile True:\n    gan.train_on_batch(x, y)", "while True"),
        ("from sentence_transformers import SentenceTransformer\nm.fit(train_objectives=[(a, b)])", "m.fit"),
        ("from fastai.vision import *\nlearn.fit_one_cycle(4)", "learn.fit_one_cycle"),
        ("import accelerate\naccelerate.notebook_launcher(train)", "accelerate.notebook"),
        ("from going_modular import engine\nengine.train(model=m, optimizer=o, epochs=5)", "engine.train"),
        ("from engine import train\nresults = train(model, epochs=5)", "train(model"),
        ("trainer = TrainerModule(model)\ntrainer.train_model(loader, num_epochs=200)", "trainer.train_model"),
        ("agent.learn(total_timesteps=100_000)", "agent.learn"),
        ("from engine import train_one_epoch\nfor epoch in range(9):\n    train_one_epoch(m, o, loader)", "train_one"),
        ("import lib.engine as e\ndef train(n):\n  for i in range(n):\n    e.train_step(m)\ntrain(9)", "e.train_step"),
        ("import torch\nfor step in range(100):\n    loss(x).backward()\n    optimizer.step()", "for step"),
        ("from setfit import Trainer\ntrainer = Trainer(model=m)\ntrainer.train()", "Trainer(model=m)"),
        ("import flair.trainers as ft\nft.ModelTrainer(tagger, corpus)", "ft.ModelTrainer"),
        ("!curl -fsSL https://ollama.com/install.sh | sh", "!curl"),
        (f"import torch\nclass Trainer:\n def run(self):\n  for x in self.data:\n{STEP}", "class Trainer"),
        ("from huggingface_hub import notebook_login\nnotebook_login()", "notebook_login()"),
        ("import huggingface_hub as hub\nhub.login(add_to_git_credential=True)", "hub.login"),
        ("import wandb\nwandb.login()", "wandb.login()"),
        ("!huggingface-cli login", "!huggingface-cli login"),
        ("!wandb login --relogin", "!wandb login"),
    ],
)
def test_what_sets_up_or_trains_and_stays_is_listed(tmp_path, before, line):
    """Nothing of it is passed over in silence, whatever library or program trains."""
    cells, report = ported(tmp_path, before)
    assert cells == [before]
    assert [one.line.startswith(line) for one in report.kept] == [True]
    assert report.kept[0].reason
    assert ("without a loader" in report.kept[0].reason) == line.startswith("for step")


@pytest.mark.parametrize(
    "quiet",
    [
        "!curl -X POST https://example.org/api",
        "!tar czf a.tgz b",
        "!kaggle datasets list",
        "from tokenizers import trainers\ntrainer = trainers.BpeTrainer(vocab_size=9)",
        "!python test.py",
        "!pip list",
        "import wandb\nwandb.login(key=key)\nwandb.login(anonymous='must')",
        "from huggingface_hub import login\nlogin(token=key)\nlogin(key)",
        "!huggingface-cli login --token $HF_TOKEN",
        "model.train()\ndef train(epochs): pass\ntrain(epochs=3)",
        "from sklearn.model_selection import train_test_split\nfor n in range(3): train_test_split(x)",
        f"import torch\nclass Net(L.LightningModule):\n def training_step(self):\n  for x in self.parts:\n{STEP}",
    ],
)
def test_what_neither_sets_up_nor_trains_is_not_listed(tmp_path, quiet):
    """A list of everything would hide what matters."""
    assert not ported(tmp_path, quiet)[1].kept


@pytest.mark.parametrize(
    "line",
    [
        "pip -q install six",
        "yes | pip install six",
        'CMAKE_ARGS="-DX=on" FORCE=1 pip install six',
        "env A=1 pip install six",
    ],
)
def test_a_line_of_pip_with_words_before_it_is_handed_on(tmp_path, line):
    """`install` reads it as it is."""
    (text,), _ = ported(tmp_path, f"!{line}")
    assert ast.literal_eval(text.removeprefix("ck.install(").removesuffix(")")) == line


def test_a_statement_behind_time_is_a_statement(tmp_path):
    """What `%time` measures is ported, the run is opened before it, and what `%%timeit` repeats stays."""
    cells, _ = ported(tmp_path, f"{KERAS}%time model.fit(x)")
    assert cells == [f"{KERAS}{OPENS}%time model.fit(x, callbacks=[run.resume()])"]
    cells, report = ported(tmp_path, KERAS, "%%timeit\nmodel.fit(x)")
    assert cells[1] == "%%timeit\nmodel.fit(x)"
    assert "timeit" in report.kept[0].reason


KEY = "aB3dE5gH7jK9mN1pQ3sT"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"rf = Roboflow(api_key='{KEY}')", 'rf = Roboflow(api_key=ck.secret("ROBOFLOW_API_KEY"))'),
        (f"wandb.login(key='{'0a' * 20}')", 'wandb.login(key=ck.secret("WANDB_API_KEY"))'),
        (f"ngrok.set_auth_token('{KEY}')", 'ngrok.set_auth_token(ck.secret("NGROK_AUTH_TOKEN"))'),
        (f"cohere.api_key = '{KEY}'", 'cohere.api_key = ck.secret("COHERE_API_KEY")'),
        (f"t = {{'username': 'me', 'key': '{'0a' * 16}'}}", "t = {'username': 'me', 'key': ck.secret(\"KAGGLE_KEY\")}"),
        (f"%env WANDB_API_KEY={'0a' * 20}", None),
        (f"!wandb login {'0a' * 20}", None),
        (f"!ngrok authtoken {KEY}", None),
        (f"""!echo '{{"username":"me","key":"{"0a" * 16}"}}' > kaggle.json""", None),
        ("%env WANDB_API_KEY=$key", ""),
        ("!wandb login {key}", ""),
        ("wandb.login(key=secret_value_0)", ""),
    ],
)
def test_a_secret_is_named_by_its_place(tmp_path, before, after):
    """A key without a form of its own is known by what it is given to, gets that name, and is shown nowhere."""
    (text,), report = ported(tmp_path, before)
    assert text == (after or before)
    assert [one.kind for one in report.kept] == (["secret"] if after is None else [])
    shown = report.diff() + str(report) + json.dumps(report.to_json())
    assert not re.search(f"{KEY}|(?:0a){{16}}", shown)


def test_an_address_with_a_key_is_ported_and_told(tmp_path):
    """The download works as before; the key in it is named."""
    line = "!curl -L 'https://app.example.org/ds/a?key=kL9mN1pQ3s' > a.zip; unzip a.zip"
    (text,), report = ported(tmp_path, line)
    assert text.startswith("ck.fetch(")
    assert report.kept[0].kind == "secret"
    assert "kL9mN1pQ3s" not in report.diff() + str(report)


def test_kaggles_own_snippet_for_secrets_is_ported(tmp_path):
    """The client goes with the last secret that it was asked for, and stays while something uses it."""
    client = "from kaggle_secrets import UserSecretsClient\nuser_secrets = UserSecretsClient()\n"
    cells, _ = ported(tmp_path, client + 'key = user_secrets.get_secret("wandb_api")')
    assert cells == ['key = ck.secret("wandb_api")']
    cells, report = ported(
        tmp_path, client + 'key = user_secrets.get_secret("a")\nuser_secrets.get_gcloud_credential()'
    )
    assert cells[0].startswith(client)
    assert SHIM in report.cells[0][2]


def test_a_loop_with_transformers_or_accelerate_is_ported_with_what_it_fills(tmp_path):
    """A library of models makes a loop no other loop; what it counts and fills goes on unasked."""
    head = TORCH + "from transformers import AutoModel, get_scheduler\nplan = get_scheduler('linear', optimizer)\n"
    loop = LOOP.replace("optimizer.step()", "optimizer.step()\n        plan.step()\n        losses.append(loss)")
    cells, report = ported(tmp_path, head, loop)
    assert "run.loop(loader, epochs=3, model=model, optimizer=optimizer, plan=plan)" in cells[1]
    assert not report.kept
    head = TORCH + "from accelerate import Accelerator\nhelper = Accelerator()\n"
    cells, _ = ported(tmp_path, head, LOOP.replace("loss.backward()", "helper.backward(loss)"))
    assert "epochs=3, helper=helper, model=model, optimizer=optimizer)" in cells[1]
    head = TORCH + "from diffusers.optimization import get_scheduler\nplan = get_scheduler('cosine', optimizer)\n"
    scaled = LOOP.replace("loss.backward()", "scaler.scale(loss).backward()")
    scaled = scaled.replace("optimizer.step()", "scaler.step(optimizer)\n        scaler.update()\n        plan.step()")
    cells, _ = ported(tmp_path, f"{head}scaler = torch.amp.GradScaler('cuda')\n", scaled)
    assert "run.loop(loader, epochs=3, model=model, scaler=scaler, optimizer=optimizer, plan=plan)" in cells[1]


def test_a_package_of_a_folder_is_read_alike_wherever_the_port_runs(tmp_path, monkeypatch):
    """`-e .` means the folder that the notebook stands in then, not that of the port."""
    line = '!pip install -e ".[notebooks]"'
    monkeypatch.chdir(tmp_path)
    cells, _ = ported(tmp_path, line)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mine'\n")
    assert ported(tmp_path, line)[0] == cells == ["ck.install('pip install -e \".[notebooks]\"')"]


def test_a_notebook_that_opens_a_run_already_keeps_it(tmp_path):
    """Another training takes that run, in a phase that none of it has; a run of a `with` is closed behind it."""
    head = f"run = 1\nimport colabkit as ck\nmine = ck.open_run('runs/a')\n{KERAS}"
    fits = 'model.fit(x, callbacks=[mine.resume()])\nmodel.fit(y, callbacks=[mine.phase("fit-1").resume()])'
    cells, _ = ported(tmp_path, head + fits, "model.fit(z)")
    assert cells == [head + fits, 'model.fit(z, callbacks=[mine.phase("fit-2").resume()])']
    cells, _ = ported(tmp_path, head, "model.fit(z)")
    assert cells == [head, "model.fit(z, callbacks=[mine.resume()])"]
    head = head.replace("mine = ck.open_run('runs/a')", "with ck.open_run('runs/a') as mine: pass")
    cells, _ = ported(tmp_path, head, "model.fit(z)")
    assert cells[1] == 'ck_run = ck.open_run("runs/train")\nmodel.fit(z, callbacks=[ck_run.resume()])'
