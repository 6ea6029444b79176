"""An environment as libraries make it: wrapped, with generators that are made when they are first drawn from."""

from __future__ import annotations

import types

SOURCE = """
import numpy as np
import torch

class Space:
    def __init__(self, count):
        self.count, self._np_random = count, None

    def sample(self):
        if self._np_random is None:
            self._np_random = np.random.default_rng(np.random.randint(1 << 30))
        return int(self._np_random.integers(self.count))

class Env:
    _np_random = None

    def reset(self, seed=None):
        if seed is not None or self._np_random is None:
            self._np_random = np.random.default_rng(seed)

class Walk(Env):
    def __init__(self):
        self.action_space, self.state, self.turns = Space(2), None, 0

    def reset(self, seed=None):
        super().reset(seed)
        self.state, self.turns = self._np_random.uniform(-1, 1, 6).astype("float32"), 0
        return torch.from_numpy(self.state)

    def step(self, action):
        self.state = self.state + (action - 0.5) * self._np_random.uniform(0, 1, 6).astype("float32")
        self.turns += 1
        return torch.from_numpy(self.state), float(self.state.sum()), bool(abs(self.state.sum()) > 3 or self.turns > 7)

class Wrapper(Env):
    def __init__(self, env):
        self.env, self.steps = env, 0

    @property
    def action_space(self):
        return self.env.action_space

    def reset(self, seed=None):
        self.steps = 0
        return self.env.reset(seed)

    def step(self, action):
        self.steps += 1
        return self.env.step(action)

def make():
    return Wrapper(Wrapper(Walk()))
"""
environments = types.ModuleType("environments_of_a_library")
environments.__file__ = "/usr/lib/python3/site-packages/environments_of_a_library/__init__.py"
exec(compile(SOURCE, environments.__file__, "exec"), vars(environments))  # noqa: S102 - as an import does
