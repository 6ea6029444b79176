"""The weights of a torch module by names that `torch.compile` and DataParallel do not change, and what is frozen."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.parts.values import decode, encode
from colabkit.checkpoint.state.loose import LooseState
from colabkit.errors import RunMismatchError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRAPPERS = ("DataParallel", "DistributedDataParallel")
_SAMPLE = 64  # numbers of each frozen tensor that are hashed


class ModulePart:
    """A module of a training.

    Args:
        module: The module as the user built it.
        place: Its name, for messages.

    Raises:
        UnsupportedError: It is spread over several processes.
    """

    def __init__(self, module: Any, place: str) -> None:
        self.module = _unwrapped(module)
        _check_whole(self.module, place)
        self._place = place
        self._loose = LooseState(self.module, is_loaded=is_adapted(self.module))
        self._trains = {name: each.requires_grad for name, each in self.module.named_parameters()}
        self._frozen = self._find_frozen() if is_adapted(self.module) else {}

    def _find_frozen(self) -> dict[str, tuple[Any, int]]:
        parameters = dict(self.module.named_parameters(remove_duplicate=False))
        return {
            _common(name): (parameter, parameter._version)
            for name, parameter in parameters.items()
            if not parameter.requires_grad and not _is_of_an_adapter(name)
        }

    def _weights(self) -> dict[str, Any]:
        return {_common(name): value for name, value in self.module.state_dict().items()}

    def _own(self) -> dict[str, Any]:
        """Return what travels: all but the frozen base of an adapter, as long as nobody has written to it."""
        skipped = {name for name, (parameter, version) in self._frozen.items() if parameter._version == version}
        return {name: value for name, value in self._weights().items() if name not in skipped}

    @property
    def has_loose(self) -> bool:
        """Whether it keeps what its state_dict does not hold, such as the sums of a metric."""
        return bool(self._loose.changed())

    def take(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        loose = self._loose.changed()
        taken = {
            "weights": {name: encode(value, f"{self._place}/{name}") for name, value in self._own().items()},
            "layout": [[name, *_describe(value)] for name, value in self._weights().items()],
            "loose": encode(loose, self._place),
            "on_cpu": self._loose.on_cpu(loose),
            "trains": self._changed_trains(),
            "training": {_common(name): each.training for name, each in self.module.named_modules()},
        }
        if self._frozen:
            taken["base"] = self.base_digest
        return taken

    def _changed_trains(self) -> dict[str, bool]:
        """Return which parameters were frozen or unfrozen since the start, as gradual unfreezing does."""
        now = {name: each.requires_grad for name, each in self.module.named_parameters()}
        return {_common(name): trains for name, trains in now.items() if self._trains.get(name, trains) != trains}

    @property
    def base_digest(self) -> str:
        """Hash a sample of the frozen weights, which do not travel, so that another base model is noticed."""
        digest = hashlib.sha256()
        for name, (parameter, _) in sorted(self._frozen.items()):
            flat = parameter.detach().reshape(-1)
            sample = flat[:: max(1, flat.numel() // _SAMPLE)][:_SAMPLE].float().cpu()
            digest.update(name.encode() + str(tuple(parameter.shape)).encode() + sample.numpy().tobytes())
        return digest.hexdigest()[:16]

    def check(self, saved: Mapping[str, Any], run: str) -> None:
        """Refuse the weights of another module.

        Raises:
            RunMismatchError: The message names the first that differs.
        """
        before = {name: (shape, dtype) for name, shape, dtype in saved["layout"]}
        now = {name: _describe(value) for name, value in self._weights().items()}
        if why := _difference(before, now):
            raise RunMismatchError(
                f"{self._place} is another model than the run {run} has trained",
                why=why,
                hint="build it as it was, or open a run under another name. The saved weights lie in "
                f"checkpoints/ of the run's folder, under state/{self._place}/ (safetensors)",
            )
        if self._frozen and saved.get("base") not in (None, self.base_digest):
            raise RunMismatchError(
                f"{self._place} has another base model than the run {run} has trained its adapter on",
                why="the frozen weights do not travel with an adapter, and these are others",
                hint="load the same base model before; one made at random needs the same seed",
            )

    def give(self, saved: Mapping[str, Any]) -> None:
        """Load what `take` returned; `check` has passed. A frozen base that did not travel is not written to."""
        names = {_common(name): name for name in self.module.state_dict()}
        weights = {names[name]: decode(value) for name, value in saved["weights"].items()}
        self.module.load_state_dict(weights, strict=not self._frozen)
        self._loose.restore(decode(saved["loose"]), on_cpu=saved.get("on_cpu", ()))
        for name, each in self.module.named_parameters():
            if (trains := saved.get("trains", {}).get(_common(name))) is not None:
                each.requires_grad_(trains)
                self._trains[name] = not trains  # it is still what the user has not built
        modules = {_common(name): each for name, each in self.module.named_modules()}
        for name, mode in saved["training"].items():
            if name in modules:
                modules[name].training = mode


def _check_whole(module: Any, place: str) -> None:
    """Refuse a module of which no process has the whole."""
    spread = next((name for name, each in module.named_parameters() if hasattr(each, "placements")), None)
    kinds = {type(each).__name__ for each in module.modules()} & {"FullyShardedDataParallel"}
    if spread is None and not kinds:
        return
    raise UnsupportedError(
        f"{place} is spread over several processes",
        why=f"{spread} is a distributed tensor" if spread else "FullyShardedDataParallel gives each a part of it",
        hint="use DistributedDataParallel where the model fits; else save it by torch.distributed.checkpoint",
    )


def is_adapted(module: Any) -> bool:
    """Say whether it is a model of PEFT, whose base is loaded anew in each process."""
    return any(kind.__module__.startswith("peft.") for kind in type(module).__mro__) and hasattr(module, "peft_config")


def _is_of_an_adapter(name: str) -> bool:
    return any(word in name for word in ("lora_", "modules_to_save", "trainable_tokens", "prompt_encoder", "ia3_"))


def _unwrapped(module: Any) -> Any:
    while True:
        if hasattr(module, "_orig_mod"):
            module = module._orig_mod
        elif type(module).__name__ in _WRAPPERS:
            module = module.module
        else:
            return module


def _common(name: str) -> str:
    return name.replace("_orig_mod.", "").removesuffix("._orig_mod").removesuffix("_orig_mod")


def _describe(value: Any) -> tuple[list[int], str]:
    if hasattr(value, "shape"):
        return list(value.shape), str(value.dtype).removeprefix("torch.")
    return [], type(value).__name__


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    for name in (name for name in before if name in now):
        if list(before[name][0]) != list(now[name][0]):
            return f"{name} has the shape {tuple(now[name][0])}, in the run {tuple(before[name][0])}"
        if before[name][1] != now[name][1]:
            return f"{name} is {now[name][1]}, in the run {before[name][1]}"
    gone = [name for name in before if name not in now]
    new = [name for name in now if name not in before]
    if len(gone) == len(new) > 0 and all(
        before[one] == tuple(now[other]) for one, other in zip(gone, new, strict=True)
    ):
        return f"{len(gone)} parameters have other names: the run has {gone[0]}, this model {new[0]}"
    if gone:
        return f"it has no {gone[0]}" + (f" (and {len(gone) - 1} more)" if len(gone) > 1 else "")
    return f"the run has no {new[0]}" + (f" (and {len(new) - 1} more)" if len(new) > 1 else "") if new else ""
