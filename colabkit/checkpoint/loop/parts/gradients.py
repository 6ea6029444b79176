"""Gradients that wait for a step, as in gradient accumulation, told from those that are of no use any more.

Most loops drop the gradients of a step before they compute new ones, some right after it, some right before; only what
is still added to belongs to the state. Seen from outside: after a step that used a gradient, and whose predecessor's
gradient was dropped in between, the gradient is dropped again.
"""

from __future__ import annotations

from typing import Any

from colabkit.checkpoint.loop.parts.values import decode, encode


class _Watched:
    """One optimizer.

    Attributes:
        touched: Whether it has stepped since `PendingGradients.mark`.
    """

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps them
        self.touched = False
        self._used: Any = None
        self._drops = False
        self._hook: Any = None
        if hasattr(self.optimizer, "register_step_post_hook"):
            self._hook = self.optimizer.register_step_post_hook(self._after_step)

    def release(self) -> None:
        """Take the hook away."""
        if self._hook is not None:
            self._hook.remove()

    def parameters(self) -> list[Any]:
        """Return what it trains."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def sample(self) -> Any:
        """Return the first gradient that there is."""
        return next((grad for each in self.parameters() if (grad := each.grad) is not None), None)

    def wait(self) -> bool:
        """Say whether its gradients are still added to."""
        grad = self.sample()
        return grad is not None and not (grad is self._used and self._drops)

    def _after_step(self, *_: Any) -> None:
        self.touched = True
        grad = self.sample()
        self._drops = self._used is not None and grad is not self._used
        self._used = grad


class PendingGradients:
    """The gradients of all optimizers of a loop.

    Args:
        optimizers: Those the loop was given.
    """

    def __init__(self, optimizers: list[Any]) -> None:
        self._watched = [_Watched(one) for one in optimizers]
        self._marked: list[Any] = []

    def release(self) -> None:
        """Let go of the optimizers."""
        for watched in self._watched:
            watched.release()

    def mark(self) -> None:
        """Begin to notice, see `touched`."""
        for watched in self._watched:
            watched.touched = False

    @property
    def touched(self) -> bool:
        """Whether an optimizer has stepped since `mark`."""
        return any(watched.touched for watched in self._watched)

    def take(self) -> list[Any]:
        """Return the gradients that wait."""
        return [
            [None if each.grad is None else encode(each.grad, "gradients") for each in watched.parameters()]
            if watched.wait()
            else None
            for watched in self._watched
        ]

    def give(self, saved: list[Any]) -> None:
        """Put back what `take` returned, and drop all others."""
        for watched, grads in zip(self._watched, saved, strict=False):
            parameters = watched.parameters()
            for parameter, grad in zip(parameters, grads or [None] * len(parameters), strict=False):
                parameter.grad = None if grad is None else decode(grad).to(parameter.device)
