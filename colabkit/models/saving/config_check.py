"""A look through the configuration of a Keras model before Keras builds what it names.

It may name Keras' own classes by the names under which Keras exports them, and nothing else: no function, no class by
the path of its module, nothing that was registered in this session. What it says of sizes must fit the weights.
"""

from __future__ import annotations

from typing import Any

from colabkit.errors import UnsafeModelError
from colabkit.models.saving.keras_names import ALLOWED

_RUN_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"}
_READ_FILES = ("vocabulary", "vocabulary_file", "filepath", "idf_weights")
_VALUES = {
    "__tensor__",
    "__numpy__",
    "__bytes__",
    "__ellipsis__",
    "__slice__",
    "__keras_tensor__",
    "__tuple__",
}
_DEEPEST = 200
_MOST_CLASSES = 20_000
"""In any case; a larger model has a weight in the file for each hundredth of what it names beyond."""
_WEIGHTS_OF_A_CLASS = 100
_MOST_REBUILT = 40_000
"""Layers that Keras may build over: it builds a Sequential anew for each layer of it, 200 of them in nine seconds."""
_TRUST = "do not use it, or pass trusted=True if you made it yourself"

_SIZES = frozenset(
    (  # noqa: SIM905 - a list of sixty would be a page
        "units filters input_dim output_dim num_heads num_query_heads num_key_value_heads head_dim key_dim value_dim n "
        "num_tokens max_tokens num_bins height width depth depth_multiplier groups kernel_size pool_size strides "
        "dilation_rate target_shape shape batch_shape input_shape batch_input_shape size padding cropping repeats reps "
        "num_thresholds num_classes k fft_length sequence_length frame_length output_sequence_length num_mel_bins rank "
        "output_size"
    ).split()
)
_LOOPS = {"power_iterations": 1000, "ngrams": 1000, "num_layers": 100_000}
_UNROLLED = 10_000  # steps of a loop that is written out
_ALWAYS = 1 << 24  # numbers of a size that need no weights to be believed


class ConfigCheck:
    """Looks through one configuration.

    Args:
        name: What to call the file in messages.
        stored: How many numbers its weights have.
    """

    def __init__(self, name: str, *, stored: int) -> None:
        self._name = name
        self._most = max(_ALWAYS, stored)
        self._registered = _registered()
        self._most_classes = max(_MOST_CLASSES, stored // _WEIGHTS_OF_A_CLASS)
        self._classes = self._rebuilt = 0
        self._longest = 0
        self._unrolls = ""

    def check(self, config: dict[str, Any], place: str) -> None:
        """Refuse whatever names a class or function that is not plainly Keras' own, or a size that cannot be meant.

        Raises:
            UnsafeModelError: The message names the place.
        """
        self._look(config, place, 0)
        if self._unrolls and self._longest > _UNROLLED:
            raise self._refusal(
                f"{self._unrolls} in {self._name} writes out a loop of up to {self._longest:,} steps",
                why=f"more than {_UNROLLED:,} would take hours",
            )

    def _look(self, value: Any, place: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise self._refusal(f"{place[:80]}… in {self._name} is nested too deeply", why="no model is")
        if isinstance(value, list):
            for number, item in enumerate(value):
                self._look(item, f"{place}[{number}]", depth + 1)
        elif isinstance(value, dict):
            if "class_name" in value:
                self._look_at_class(value, place)
            for key, item in value.items():
                if key in _READ_FILES and isinstance(item, str):
                    raise self._refusal(
                        f"{place}.{key} in {self._name} names a file, {item[:80]!r}", why="loading would read it"
                    )
                self._look_at_size(key, item, place)
                self._look(item, f"{place}.{key}", depth + 1)
        elif isinstance(value, str) and value in self._registered:
            raise self._refusal(
                f"{place} in {self._name} names {value[:80]!r}", why="it is registered in this session, not Keras' own"
            )

    def _look_at_class(self, value: dict[str, Any], place: str) -> None:
        class_name, module = value["class_name"], value.get("module")
        config = value.get("config")
        layer = config.get("name", "") if isinstance(config, dict) else ""
        display = f"{str(class_name)[:80]!r}{f' ({layer[:80]!r})' if layer and isinstance(layer, str) else ''}"
        self._classes += 1
        if self._classes > self._most_classes:
            raise self._refusal(
                f"{self._name} names more than {self._most_classes:,} classes", why="no model of its weights does"
            )
        if class_name == "Sequential":
            self._rebuilt += _layers_rebuilt(config)
            if self._rebuilt > _MOST_REBUILT:
                raise self._refusal(
                    f"{display} at {place} in {self._name} has too many layers",
                    why="Keras builds all of them again for each, which would take minutes",
                )
        if not isinstance(class_name, str) or class_name in _RUN_CODE:
            raise self._refusal(f"{self._name} has a {display} at {place}", why="it brings code of its own")
        if module is None and class_name in _VALUES:
            return
        if class_name == "function":
            function = str(value.get("registered_name") or config)[:80]
            raise self._refusal(f"{self._name} calls the function {function!r} at {place}", why="it is not a layer")
        if not isinstance(module, str) or class_name not in ALLOWED.get(module, ()):
            raise self._refusal(
                f"{self._name} names the class {display} of the module {str(module)[:80]!r} at {place}",
                why="it is not among those that Keras ships",
            )
        if (alias := value.get("registered_name")) not in (None, class_name):
            raise self._refusal(
                f"{self._name} names the class {display} at {place} with the registered name {str(alias)[:80]!r}",
                why="that name may stand for any class of this session",
            )

    def _look_at_size(self, key: str, value: Any, place: str) -> None:
        if key == "unroll" and value:
            self._unrolls = f"{place}.{key}"
        if (most := _LOOPS.get(key, self._most if key in _SIZES else None)) is None:
            return
        todo = [value]
        while todo:
            item = todo.pop()
            if isinstance(item, list):
                todo += item
            elif isinstance(item, int | float) and not isinstance(item, bool):
                if not -most <= item <= most:
                    raise self._refusal(
                        f"{place}.{key} in {self._name} is {item:,}", why="the weights in the file are far fewer"
                    )
                if "shape" in key:
                    self._longest = max(self._longest, int(item))

    def _refusal(self, what: str, *, why: str) -> UnsafeModelError:
        return UnsafeModelError(what, why=why, hint=_TRUST)


def _layers_rebuilt(config: Any) -> int:
    """Count the layers that are built while a Sequential grows: its own, times all that are in it."""
    layers = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(layers, list):
        return 0
    count, todo = len(layers), list(layers)
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            if isinstance(more := item.get("layers"), list):
                count += len(more)
            todo += item.values()
        elif isinstance(item, list):
            todo += item
    return len(layers) * count


def _registered() -> frozenset[str]:
    """Name what this session has registered with Keras, which a configuration could ask for by name."""
    from keras.src.backend.common import global_state
    from keras.src.saving import object_registration

    scope = global_state.get_global_attribute("custom_objects_scope_dict", {}) or {}
    return frozenset([*object_registration.GLOBAL_CUSTOM_OBJECTS, *scope])
