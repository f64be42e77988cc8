"""Randomness is an argument: one tree of seeds, and nothing else, decides every draw.

A generator is a function of a path through the tree, (benchmark, seed, role, ...), by way of
``numpy.random.SeedSequence``. Strategies and architectures are not part of a path: at the same
seed they share task order, data order and (within an architecture) initialisation, so comparing
them is a paired comparison. No code of this package touches a global generator.
"""

import hashlib

import numpy as np
import torch


def seed_sequence(*path: str | int) -> np.random.SeedSequence:
    """Return the node of the seed tree at ``path``; equal paths give equal draws on any machine."""
    digest = hashlib.sha256("\x1f".join(map(repr, path)).encode()).digest()
    return np.random.SeedSequence(np.frombuffer(digest, dtype="<u4").tolist())


def numpy_generator(*path: str | int) -> np.random.Generator:
    """Return numpy's PCG64 generator for the node at ``path``."""
    return np.random.Generator(np.random.PCG64(seed_sequence(*path)))


def torch_generator(*path: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator for the node at ``path``; draws depend on the kind of device."""
    generator = torch.Generator(device=device)
    state = seed_sequence(*path).generate_state(1, np.uint64)[0]
    return generator.manual_seed(int(state & np.uint64(2**63 - 1)))
