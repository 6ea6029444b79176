"""Let the torchvision of PyPI, which is built for CUDA, be imported beside a torch that is built for the CPU.

Its operators do not load there. fastai uses none of them, but the import of torchvision describes two and fails. So
they are declared, in the environment of this Python; where torchvision works as it is, nothing is changed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

ANCHOR = '@torch.library.register_fake("torchvision::{0}")\n'
DECLARED = 'torch.library.define("torchvision::{0}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")\n'


def imports() -> bool:
    """Say whether torchvision can be imported, by a process of its own."""
    return (
        subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, check=False).returncode == 0
    )


if not imports():
    found = importlib.util.find_spec("torchvision")
    path = Path(found.origin).with_name("_meta_registrations.py")
    text = path.read_text(encoding="utf-8")
    for operator in ("nms", "qnms"):
        anchor = ANCHOR.format(operator)
        text = text.replace(anchor, DECLARED.format(operator) + anchor)
    path.write_text(text, encoding="utf-8")
    if not imports():
        raise SystemExit("torchvision cannot be imported, for another reason than the missing operators")
