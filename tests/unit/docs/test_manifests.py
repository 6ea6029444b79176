"""Kubernetes' manifests in the docs fit its schemas, and name the workers as the pods are called."""

from __future__ import annotations

import copy
import re

import pytest

from colabkit.launch import plan_launch
from tests.unit.docs.pages import ROOT

kubernetes = pytest.importorskip("kubernetes_validate", reason='no schemas: pip install -e ".[test]"')
yaml = pytest.importorskip("yaml", reason='no schemas: pip install -e ".[test]"')


def manifests():
    """Read all objects of Kubernetes that pages show."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            if "apiVersion" in block:
                yield from yaml.safe_load_all(block)


def as_shipped(manifest):
    """Return what Kubernetes itself knows: a JobSet's jobs, as its own kind has no schema beside the core's."""
    if manifest["kind"] != "JobSet":
        return [manifest]
    name = manifest["metadata"]["name"]
    return [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": f"{name}-{job['name']}-0"},
            "spec": job["template"]["spec"],
        }
        for job in manifest["spec"]["replicatedJobs"]
    ]


def test_manifests_fit_the_schemas_of_kubernetes():
    """Every field is one that Kubernetes knows, of the right kind."""
    read = list(manifests())
    assert {manifest["kind"] for manifest in read} == {"Service", "Job", "JobSet"}
    for manifest in read:
        for one in as_shipped(manifest):
            kubernetes.validate(one, kubernetes.latest_version(), strict=True)
    wrong = copy.deepcopy(next(manifest for manifest in read if manifest["kind"] == "Job"))
    wrong["spec"]["completionsMode"] = "Indexed"
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(wrong, kubernetes.latest_version(), strict=True)


def test_workers_are_named_as_the_pods_are(tmp_path, monkeypatch):
    """Each pod finds itself among `--workers` by its host's name: JOB-INDEX, below the service."""
    (tmp_path / "train.py").write_text("")
    for manifest in manifests():
        for job in as_shipped(manifest) if manifest["kind"] in ("Job", "JobSet") else ():
            spec = job["spec"]
            words = " ".join(spec["template"]["spec"]["containers"][0]["command"])
            workers = re.search(r"--workers[ =](\S+)", words)[1].split(",")
            assert len(workers) == spec["completions"] == spec["parallelism"]
            domain = spec["template"]["spec"].get("subdomain", manifest["metadata"]["name"])
            for index, worker in enumerate(workers):
                host = f"{job['metadata']['name']}-{index}"
                assert worker == f"{host}.{domain}"
                monkeypatch.setattr("socket.gethostname", lambda host=host: host)
                assert plan_launch(tmp_path / "train.py", workers=workers, env={}).ranks == (index,)
