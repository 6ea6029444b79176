"""Errors that say that memory has run out, however TensorFlow, JAX, torch and Python say it."""

from __future__ import annotations

import gc
import re
import sys
import traceback

from colabkit.errors import ColabKitError, OutOfMemoryError

_TYPES = ("OutOfMemoryError", "ResourceExhaustedError")
_LIBRARIES = ("tensorflow", "torch", "jax", "jaxlib", "keras", "builtins")
_WORDS = re.compile(
    r"RESOURCE_EXHAUSTED|out of memory|OOM when allocating|(can't|cannot|failed to|unable to) allocate"
    r"|_ALLOC_FAILED|ERROR_OUT_OF_MEMORY|bad_alloc",
    re.IGNORECASE,
)
_DISK = re.compile(r"no space left|disk quota|too many open files", re.IGNORECASE)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Say whether an error, or what caused it, is that the memory of the machine or its GPU has run out.

    Example:
        >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
        True
        >>> is_out_of_memory(RuntimeError("shape mismatch")), is_out_of_memory(None)
        (False, False)
    """
    seen = 0
    while error is not None and seen < 20:
        if _says_so(error):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def _says_so(error: BaseException) -> bool:
    if isinstance(error, ColabKitError):
        return isinstance(error, OutOfMemoryError)
    text = str(error)[:5000]
    if _DISK.search(text):
        return False
    kind = type(error)
    if isinstance(error, MemoryError) or kind.__name__ in _TYPES:
        return True
    of_a_library = kind.__module__.partition(".")[0] in _LIBRARIES
    return of_a_library and isinstance(error, Exception) and _WORDS.search(text) is not None


def let_go(error: BaseException) -> None:
    """Give back what the frames of an error hold, and what the libraries keep of the GPU's memory."""
    traceback.clear_frames(error.__traceback__)
    error.__traceback__ = None
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
