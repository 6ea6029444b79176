"""A trained classifier whose model is a torch module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.models.results.classifier import Classifier

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_AT_ONCE = 256  # images; more of them need more memory and no less time


@dataclass(frozen=True, kw_only=True, repr=False)
class TorchClassifier(Classifier):
    """A `torch.nn.Module` that classifies raw images, and gives one logit a class.

    Its attributes are those of `Classifier`. The module takes float32, shape (images, channels, height, width).
    """

    def __post_init__(self) -> None:
        """Let the module be: how many classes it tells apart is seen when it is used."""

    def probability_model(self) -> Any:
        """Return a module that gives probabilities: this one, with a Softmax on top."""
        import torch

        return torch.nn.Sequential(self.model, torch.nn.Softmax(dim=1))

    def _of(self, prepared: Array) -> Array:
        import numpy as np
        import torch

        model = self.model
        device = next(model.parameters()).device
        was_training = model.training
        model.eval()
        try:
            with torch.inference_mode():
                parts = [
                    torch.softmax(model(images.to(device).permute(0, 3, 1, 2)), dim=1).cpu().numpy()
                    for images in torch.from_numpy(prepared).split(_AT_ONCE)
                ]
        finally:
            model.train(was_training)
        return np.concatenate(parts)
