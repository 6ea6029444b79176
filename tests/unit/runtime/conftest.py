"""Kernels to restart."""

from __future__ import annotations

import pytest

from tests.support.kernels import SETS, build_command


@pytest.fixture(params=list(SETS), scope="module")
def kernels(request):
    """Each kernel set, as it was built; a test that changes its packages puts them back first."""
    return built(request.param)


@pytest.fixture(scope="module")
def colab_kernels():
    """Colab's kernel set alone, for what does not depend on the kernel's version."""
    return built("colab")


def built(name):
    """Return a kernel set, or skip the test and say how it is built."""
    if not SETS[name].is_built:
        pytest.skip(f"the kernel set is not built; run: {build_command(name)}")
    return SETS[name]
