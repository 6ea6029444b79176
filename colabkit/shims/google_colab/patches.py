"""google.colab.patches: OpenCV's picture in the output."""

from __future__ import annotations

from typing import Any

__all__ = ["cv2_imshow"]


def cv2_imshow(a: Any) -> None:
    """Show a picture whose colours are in OpenCV's order."""
    import io

    import numpy as np
    import PIL.Image
    from IPython.display import Image, display

    pixels = np.clip(np.asarray(a), 0, 255).astype("uint8")
    if pixels.ndim == 3:
        order = [2, 1, 0, 3] if pixels.shape[2] == 4 else [2, 1, 0]
        pixels = pixels[:, :, order]
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    display(Image(data=file.getvalue()))
