"""Rollouts: asynchronous reinforcement learning of language models, where a trainer waits for k of n slots."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
