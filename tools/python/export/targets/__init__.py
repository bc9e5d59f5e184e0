# SPDX-License-Identifier: Apache-2.0
"""Classes of stock transformers that compute what some hybrids do: one module a class, one entry of TARGETS.

A target has
    NAME, name(hybrid)       the class that loads the folder, and which of several
    TYPES                    every model_type that config() may write
    prevents(hybrid)         None where the class computes the hybrid's function, else the sentence that says why not
    resembles(hybrid)        whether the class is the nearest of all where none fits
    config(hybrid)           config.json, but for `dtype`
    EXPERTS_APART            whether its files have the experts of a layer one by one, not as the class's stacks
    weights(hybrid, take)    generates (name, tensor) of the class; `take(name)` gives a weight of Morph's by its name,
                             which is then used, and `name in take` says whether there is one
Only `weights` needs PyTorch: `morph plan` asks the others.
"""

from . import granite, qwen3_5, softmax
from .hybrid import prevents_family

TARGETS = (softmax, qwen3_5, granite)


class Inexact(Exception):
    """Weights of these values have no equal in the class; the message says which."""


def choose(hybrid):
    """The target that fits and None, or None and a sentence a target that says what prevents it."""
    reasons = {}
    for target in TARGETS:
        reason = prevents_family(hybrid) or target.prevents(hybrid)
        if reason is None:
            return target, None
        reasons[target.NAME] = reason
    return None, reasons


def explain(hybrid, reasons):
    """One sentence of those of choose: the classes with the hybrid's kind of layers first, the others not at all."""
    near = [target.NAME for target in TARGETS if target.resembles(hybrid)] or list(reasons)[:1]
    return "; ".join(f"{name}: {reasons[name]}" for name in near)
