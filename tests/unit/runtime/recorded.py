"""Recorded environments and file trees of the hosts, each with what must be read from them.

The variables and files are those of facts that users and the hosts' own images show (Colab's and Kaggle's images are
public); values that would be personal or secret are replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from colabkit.runtime import Runtime, detect

if TYPE_CHECKING:
    from pathlib import Path

COLAB_TAG = "release-colab_20260825-060134_RC00"

COLAB_ENV = {
    "COLAB_RELEASE_TAG": COLAB_TAG,
    "COLAB_BACKEND_VERSION": "next",
    "COLAB_GPU": "",
    "COLAB_IMAGE_TYPE": "cpu",
    "COLAB_NOTEBOOK_ID": "1aBcD",
    "TBE_RUNTIME_ADDR": "172.28.0.1:8011",
    "CLOUDSDK_CONFIG": "/content/.config",
    "USE_AUTH_EPHEM": "1",
    "UV_SYSTEM_PYTHON": "true",
    "PYTHONPATH": "/env/python",
    "HOME": "/root",
}

KAGGLE_ENV = {
    **COLAB_ENV,
    "KAGGLE_KERNEL_RUN_TYPE": "Interactive",
    "KAGGLE_URL_BASE": "https://www.kaggle.com",
    "KAGGLE_USER_SECRETS_TOKEN": "a-secret-token",
    "KAGGLE_DATA_PROXY_TOKEN": "a-secret-token",
    "KAGGLE_DOCKER_IMAGE": "gcr.io/kaggle-images/python@sha256:0123",
}
del KAGGLE_ENV["COLAB_NOTEBOOK_ID"], KAGGLE_ENV["TBE_RUNTIME_ADDR"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One recorded machine: variables, files with their text, folders."""

    env: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()

    def build(self, root: Path) -> Path:
        """Lay the files out under a root folder."""
        for name in self.folders:
            (root / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    def detect(self, root: Path, *, shell: object = None) -> Runtime:
        """Detect this machine, laid out under a root folder."""
        return detect(env=self.env, root=self.build(root), shell=shell, cwd=root)


COLAB = Machine(
    env=COLAB_ENV,
    files={"/var/colab/hostname": "m-s-1x2y3z4a5b6c", "/proc/1/stat": "1 (tini node) S " + "0 " * 18 + "4000 0"}
    | {"/proc/uptime": "7240.00 14000.00"},
    folders=("/content/sample_data",),
)
COLAB_GPU = Machine(
    env={**COLAB_ENV, "COLAB_GPU": "1", "COLAB_IMAGE_TYPE": "gpu", "TF_FORCE_GPU_ALLOW_GROWTH": "true"},
    files={**COLAB.files, "/var/colab/hostname": "gpu-t4-s-1x2y3z4a5b6c"},
    folders=COLAB.folders,
)
COLAB_TPU = Machine(
    env={
        **COLAB_ENV,
        "COLAB_TPU_1VM": "1",
        "TPU_ACCELERATOR_TYPE": "v5e-1",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
    },
    files={**COLAB.files, "/var/colab/hostname": "tpu-v5e1-s-1x2y3z4a5b6c", "/dev/vfio/0": "", "/dev/vfio/vfio": ""},
    folders=COLAB.folders,
)
KAGGLE = Machine(
    env=KAGGLE_ENV,
    files={"/etc/git_commit": "78aaa43", "/etc/build_date": "2026-08-30-10:11", "/var/colab/hostname": "kaggle"},
    folders=("/kaggle/working", "/kaggle/input"),
)
KAGGLE_TPU = Machine(
    env={**KAGGLE_ENV, "TPU_ACCELERATOR_TYPE": "v5litepod-8"},
    files={**KAGGLE.files, **{f"/dev/vfio/{number}": "" for number in range(8)}},
    folders=KAGGLE.folders,
)
COLAB_ENTERPRISE = Machine(
    env={**COLAB_ENV, "VERTEX_PRODUCT": "COLAB_ENTERPRISE"}, files=COLAB.files, folders=COLAB.folders
)
VERTEX_WORKBENCH = Machine(
    env={"VERTEX_PRODUCT": "WORKBENCH_INSTANCE", "DL_ANACONDA_HOME": "/opt/conda", "HOME": "/home/jupyter"}
)
STUDIO_LAB = Machine(env={"HOME": "/home/studio-lab-user"}, folders=("/home/studio-lab-user",))
SAGEMAKER = Machine(
    env={"SAGEMAKER_INTERNAL_IMAGE_URI": "1234.dkr.ecr/sagemaker-distribution:2.1", "HOME": "/home/sagemaker-user"},
    files={"/opt/ml/metadata/resource-metadata.json": "{}"},
)
SAGEMAKER_JOB = Machine(
    env={"SM_MODEL_DIR": "/opt/ml/model", "SM_CURRENT_HOST": "algo-1", "HOME": "/root"}, folders=("/opt/ml/model",)
)
LIGHTNING = Machine(
    env={"LIGHTNING_CLOUD_SPACE_ID": "01h", "LIGHTNING_CLOUD_PROJECT_ID": "01p", "LIGHTNING_CLUSTER_ID": "gcp"},
    folders=("/teamspace/studios/this_studio",),
)
PAPERSPACE = Machine(
    env={"PAPERSPACE_NOTEBOOK_REPO_ID": "r1", "PAPERSPACE_FQDN": "n1.paperspacegradient.com"},
    folders=("/notebooks", "/storage"),
)
DEEPNOTE = Machine(env={"DEEPNOTE_PROJECT_ID": "p1", "DEEPNOTE_PROJECT_OWNER_ID": "o1"}, folders=("/work",))
DATABRICKS = Machine(env={"DATABRICKS_RUNTIME_VERSION": "17.3"}, folders=("/databricks", "/dbfs", "/local_disk0"))
BINDER = Machine(env={"BINDER_SERVICE_HOST": "10.0.0.1", "JUPYTERHUB_USER": "anonymous"})
JUPYTERHUB = Machine(
    env={"JUPYTERHUB_USER": "someone", "JUPYTERHUB_API_URL": "http://hub:8081/hub/api", "HOME": "/home/jovyan"}
)
LOCAL = Machine(env={"HOME": "/home/someone"})
LOCAL_COLAB_IMAGE = Machine(env={"COLAB_RELEASE_TAG": COLAB_TAG, "HOME": "/root"})
