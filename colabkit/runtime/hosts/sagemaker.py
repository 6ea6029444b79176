"""Amazon SageMaker: Studio, notebook instances and training jobs."""

from __future__ import annotations

from colabkit.runtime.base import Host, Probe

METADATA = "/opt/ml/metadata/resource-metadata.json"
JOB = ("SM_MODEL_DIR", "SM_CURRENT_HOST")


def recognise(place: Probe) -> Host | None:
    """Recognise Studio and notebook instances by their metadata, a training job by the variables of its container."""
    studio = (place.exists(METADATA), place.is_set("SAGEMAKER_INTERNAL_IMAGE_URI"))
    job = tuple(place.is_set(name) for name in JOB)
    if all(job):
        return Host(
            host="sagemaker",
            name="SageMaker training job",
            evidence=job,
            _frontend=place.frontend(hosted="headless"),
            work_dir=place.cwd,
            persistent_dir=place.path(place.env["SM_MODEL_DIR"]),
            image=place.env.get("SAGEMAKER_INTERNAL_IMAGE_URI"),
            notes=("what is in the model folder when the job ends is uploaded to S3; nothing else stays",),
        )
    if any(studio):
        return Host(
            host="sagemaker",
            name="Amazon SageMaker",
            evidence=tuple(filter(None, studio)),
            _frontend=place.frontend(hosted="jupyterlab"),
            work_dir=place.cwd,
            persistent_dir=place.folder(str(place.home / "SageMaker")) or place.home,
            ephemeral=False,
            image=place.env.get("SAGEMAKER_INTERNAL_IMAGE_URI"),
        )
    return None
