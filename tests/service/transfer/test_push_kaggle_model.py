"""push to a Kaggle model: the model and its variation are made where they are missing, then versions follow."""

import json

import pytest

from colabkit.cli import main
from colabkit.errors import AccessError, AddressError, ExistsError, NotFoundError, TransferError
from colabkit.testing.http import Fault, Page
from colabkit.transfer import fetch, push, push_details

MODEL = "kaggle:models/ada/digits/keras/small"
NAME = MODEL.removeprefix("kaggle:")


@pytest.fixture
def folder(tmp_path):
    """Make a folder as a model is saved in."""
    made = tmp_path / "model"
    (made / "assets").mkdir(parents=True)
    (made / "model.keras").write_bytes(b"weights")
    (made / "assets" / "labels.json").write_bytes(b"[7]")
    return made


def test_a_model_is_made_and_then_gets_versions(kaggle, folder, tmp_path, caplog):
    """The first push makes the model and the variation, private; the next a version with its notes; fetch has both."""
    caplog.set_level("INFO", logger="colabkit")
    done = push_details(folder, MODEL, progress=False)
    assert (done.target, done.version, done.created) == (MODEL, 1, ("model", "variation"))
    assert "made the model and the variation, private, and version 1" in caplog.text
    assert kaggle.bundles[NAME].files == {"model.keras": b"weights", "assets/labels.json": b"[7]"}
    assert (kaggle.models["ada/digits"]["isPrivate"], kaggle.models["ada/digits"]["title"]) == (True, "digits")
    blobs = [body["type"] for method, body in kaggle.calls if method.endswith("StartBlobUpload")]
    assert blobs == ["MODEL", "MODEL"]
    (folder / "model.keras").write_bytes(b"better")
    done = push_details(folder, MODEL, message="better", progress=False)
    assert (done.version, done.created, kaggle.bundles[NAME].notes) == (2, (), "better")
    assert (fetch(MODEL, f"{tmp_path}/back/") / "model.keras").read_bytes() == b"better"
    assert fetch(f"{MODEL}/2/assets/labels.json", f"{tmp_path}/one/").read_bytes() == b"[7]"


@pytest.mark.parametrize("hides", [False, True])
def test_another_variation_of_a_model_that_is_there(kaggle, folder, hides):
    """Only the variation is made; the same line again sends nothing, whether Kaggle hides what is absent or not."""
    kaggle.hides = hides
    push(folder, MODEL, progress=False)
    other = MODEL.replace("keras/small", "pyTorch/small")
    assert push_details(folder, other, progress=False).created == ("variation",)
    assert push_details(folder, other, progress=False).sent == 0
    assert kaggle.bundles["models/ada/digits/py_torch/small"].version == 1


def test_a_file_and_bytes_have_their_names(kaggle, folder):
    """A file becomes a version of its own name; bytes need one in the handle."""
    push(folder / "model.keras", MODEL, progress=False)
    assert kaggle.bundles[NAME].files == {"model.keras": b"weights"}
    push(b"raw", f"{MODEL}/raw.bin", progress=False)
    assert (kaggle.bundles[NAME].version, kaggle.bundles[NAME].files) == (2, {"raw.bin": b"raw"})


def test_the_files_of_kaggles_program_describe_it(kaggle, folder):
    """Title and license come from model-metadata.json and model-instance-metadata.json, which are not sent."""
    (folder / "model-metadata.json").write_text(json.dumps({"title": "Digits of ten", "isPrivate": False}))
    told = {"instanceSlug": "small", "licenseName": "Apache 2.0", "fineTunable": True, "overview": ""}
    (folder / "model-instance-metadata.json").write_text(json.dumps(told))
    push(folder, MODEL, progress=False)
    assert kaggle.models["ada/digits"]["title"] == "Digits of ten"
    about = kaggle.bundles[NAME].about
    assert (about["licenseName"], about["fineTunable"]) == ("Apache 2.0", True)
    assert sorted(kaggle.bundles[NAME].files) == ["assets/labels.json", "model.keras"]


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("model-metadata.json", "{", "as JSON"),
        ("model-metadata.json", '{"slug": "other"}', "slug is not digits"),
        ("model-metadata.json", '{"title": 7}', "title cannot be read"),
        ("model-instance-metadata.json", '{"modelSlug": "INSERT_EXISTING_MODEL_SLUG_HERE"}', "modelSlug is not digits"),
        ("model-instance-metadata.json", '{"fineTunable": "yes"}', "fineTunable cannot be read"),
        ("model-instance-metadata.json", '{"trainingData": [1]}', "trainingData cannot be read"),
    ],
)
def test_a_description_that_cannot_be_used_changes_nothing(kaggle, folder, file, text, why):
    """It is named, and neither a model nor a file is at Kaggle."""
    (folder / file).write_text(text)
    with pytest.raises(AddressError, match=why):
        push(folder, MODEL, progress=False)
    assert (kaggle.models, kaggle.bundles, kaggle.storage.uploads.blobs) == ({}, {}, {})


def test_a_license_that_kaggle_does_not_know(kaggle, folder):
    """The error has Kaggle's words and the place to mend it; mended, the same line goes on."""
    path = folder / "model-instance-metadata.json"
    path.write_text('{"licenseName": "Mine"}')
    with pytest.raises(AddressError, match=r"'Mine' is not valid(.|\n)*model-instance-metadata\.json"):
        push(folder, MODEL, progress=False)
    assert kaggle.bundles == {}
    path.write_text('{"licenseName": "MIT"}')
    assert push_details(folder, MODEL, progress=False).created == ("variation",)


@pytest.mark.parametrize(
    ("handle", "words"),
    [
        (f"{MODEL}/3", "without a version"),
        (MODEL.replace("keras", "kears"), "did you mean 'keras'"),
        ("kaggle:models/ada/digits", "write it as"),
        ("kaggle:code/ada/digits", "cannot push"),
    ],
)
def test_a_handle_that_cannot_be_pushed_to(kaggle, folder, handle, words):
    """It is refused before Kaggle is asked."""
    with pytest.raises(AddressError, match=words):
        push(folder, handle, progress=False)
    assert kaggle.calls == []


def test_who_may_not(kaggle, folder, monkeypatch):
    """Another's model, and no login: each is refused before a file is sent, with the way out."""
    with pytest.raises(AccessError, match="belongs to another account"):
        push(folder, MODEL.replace("ada", "bob"), progress=False)
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    with pytest.raises(AccessError, match="requires a login"):
        push(folder, MODEL, progress=False)
    assert kaggle.storage.uploads.blobs == {}
    (folder / "empty").mkdir()
    with pytest.raises(NotFoundError, match="no files"):
        push(folder / "empty", MODEL, progress=False)


def test_a_version_that_another_made_meanwhile_is_seen(kaggle, folder, monkeypatch):
    """Our push stops before it makes a version over one that it did not see; what has arrived is not sent again."""
    push(folder, MODEL, progress=False)
    (folder / "model.keras").write_bytes(b"better")
    interface, asked = kaggle.sites["api.kaggle.com"], kaggle.sites["api.kaggle.com"].answer

    def answer(request):
        if request.path.endswith("/StartBlobUpload"):
            kaggle.bundles[NAME].version = 5
        return asked(request)

    monkeypatch.setattr(interface, "answer", answer)
    with pytest.raises(ExistsError, match="has version 5 by now"):
        push(folder, MODEL, progress=False)
    assert kaggle.bundles[NAME].files["model.keras"] == b"weights"
    before = kaggle.storage.uploads.received
    assert push_details(folder, MODEL, progress=False).version == 6
    assert kaggle.storage.uploads.received == before


def test_a_lost_answer_makes_nothing_twice(kaggle, folder):
    """The answer to the model, then to the variation, is lost: the same line goes on, with one of each."""
    kaggle.lost = 1
    with pytest.raises(TransferError):
        push(folder, MODEL, progress=False)
    kaggle.lost = 1
    with pytest.raises(TransferError):
        push(folder, MODEL, progress=False)
    assert push_details(folder, MODEL, progress=False).sent == 0
    assert kaggle.bundles[NAME].version == 1


@pytest.mark.parametrize(
    ("call", "status", "message", "words"),
    [
        ("StartBlobUpload", 403, "Storage quota exceeded", "quota is used up"),
        ("CreateModelInstance", 400, "You have reached your quota of 200 GB", "quota is used up"),
        ("CreateModel", 403, "The token lacks the scope models:write", "with that scope"),
    ],
)
def test_a_quota_and_a_scope_are_told_from_an_owner(kaggle, folder, monkeypatch, call, status, message, words):
    """Each has its own way out, and no variation is there."""
    interface, asked = kaggle.sites["api.kaggle.com"], kaggle.sites["api.kaggle.com"].answer

    def answer(request):
        if request.path.endswith(f"/{call}"):
            said = json.dumps({"code": status, "message": message}).encode()
            return Page(status=status, body=said, headers={"Content-Type": "application/json"})
        return asked(request)

    monkeypatch.setattr(interface, "answer", answer)
    with pytest.raises(AccessError, match=words):
        push(folder, MODEL, progress=False)
    assert kaggle.bundles == {}


def test_what_arrives_changed_becomes_no_version(kaggle, folder):
    """A flipped bit on the way is seen by the checksum that the storage tells."""
    kaggle.storage.uploads.faults.append(Fault(kind="flip", at=3))
    with pytest.raises(TransferError, match="did not arrive as it was sent"):
        push(folder / "model.keras", MODEL, progress=False)
    assert kaggle.bundles == {}


def test_the_command_says_what_it_did(kaggle, folder, capsys):
    """--json has the version and what was made."""
    assert main(["push", str(folder), MODEL, "--json", "--quiet"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["target"], value["version"], value["created"]) == (MODEL, 1, ["model", "variation"])
