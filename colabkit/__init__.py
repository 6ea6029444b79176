"""colabkit: training that survives a throw-away runtime.

import colabkit as ck

run = ck.open_run("./runs/digits")
model.fit(x, y, epochs=10, callbacks=[run.resume()])   # killed at any instant, run again: it continues exactly
"""

# Each public name is imported when it is first used (PEP 562), so that `import colabkit` costs a millisecond.
# A checker reads the first branch; `typing` itself would cost 8 ms, hence the plain constant.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from colabkit import drive as drive
    from colabkit import errors as errors
    from colabkit._version import __version__ as __version__
    from colabkit.accelerator import strategy as strategy
    from colabkit.checkpoint import open_run as open_run
    from colabkit.diagnosis import doctor as doctor
    from colabkit.models import train as train
    from colabkit.models.results.plots import plot as plot
    from colabkit.models.saving import load_model as load_model
    from colabkit.models.saving import save_model as save_model
    from colabkit.models.saving.export import export_model as export_model
    from colabkit.packages import install as install
    from colabkit.packages import lock as lock
    from colabkit.panel import setup_panel as setup_panel
    from colabkit.runtime import detect as detect
    from colabkit.runtime.secrets import secret as secret
    from colabkit.setup_file import setup as setup
    from colabkit.shims import colab_shim as colab_shim
    from colabkit.tracking import track as track
    from colabkit.tracking.board import tensorboard as tensorboard
    from colabkit.transfer.browser import download as download
    from colabkit.transfer.browser import upload as upload
    from colabkit.transfer.fetching import fetch as fetch
    from colabkit.transfer.pushing import push as push
else:
    _PUBLIC = {
        "__version__": "colabkit._version",
        "colab_shim": "colabkit.shims",
        "detect": "colabkit.runtime",
        "doctor": "colabkit.diagnosis",
        "download": "colabkit.transfer.browser",
        "drive": "colabkit",
        "errors": "colabkit",
        "export_model": "colabkit.models.saving.export",
        "fetch": "colabkit.transfer.fetching",
        "install": "colabkit.packages",
        "load_model": "colabkit.models.saving",
        "lock": "colabkit.packages",
        "open_run": "colabkit.checkpoint",
        "plot": "colabkit.models.results.plots",
        "push": "colabkit.transfer.pushing",
        "save_model": "colabkit.models.saving",
        "secret": "colabkit.runtime.secrets",
        "setup": "colabkit.setup_file",
        "setup_panel": "colabkit.panel",
        "strategy": "colabkit.accelerator",
        "tensorboard": "colabkit.tracking.board",
        "track": "colabkit.tracking",
        "train": "colabkit.models",
        "upload": "colabkit.transfer.browser",
    }

    def __getattr__(name):
        if name not in _PUBLIC:
            raise AttributeError(f"module 'colabkit' has no attribute {name!r}")
        import importlib

        if _PUBLIC[name] == "colabkit":  # a public module
            return importlib.import_module(f"colabkit.{name}")
        try:
            value = getattr(importlib.import_module(_PUBLIC[name]), name)
        except ModuleNotFoundError as error:
            from colabkit._internal.optional import as_missing

            raise as_missing(error, f"ck.{name} needs it") from error
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *_PUBLIC})


def load_ipython_extension(shell: object) -> None:
    """Give a notebook the magics `%colabkit` and `%%colabkit`: IPython calls this at `%load_ext colabkit`."""
    from colabkit.magics import register

    register(shell)


__all__ = [
    "__version__",
    "colab_shim",
    "detect",
    "doctor",
    "download",
    "drive",
    "errors",
    "export_model",
    "fetch",
    "install",
    "load_model",
    "lock",
    "open_run",
    "plot",
    "push",
    "save_model",
    "secret",
    "setup",
    "setup_panel",
    "strategy",
    "tensorboard",
    "track",
    "train",
    "upload",
]
