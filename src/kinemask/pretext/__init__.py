"""Pretext tasks. A method is one module here that defines METHOD, and its recipes; `register` adds one from outside."""

from __future__ import annotations

from importlib import import_module

from kinemask.pretext.base import Method

NAMES = ("mae", "mamp", "hacm", "skeleton2vec", "masksem", "skeletonmae")
_REGISTERED: dict[str, Method] = {}


def method(name: str) -> Method:
    """The method of that name; raises ValueError with the known ones."""
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in NAMES:
        known = ", ".join((*NAMES, *_REGISTERED))
        raise ValueError(f"unknown method {name!r}; known: {known}; one of your own must be registered first")
    return import_module(f"kinemask.pretext.{name}").METHOD


def register(chosen: Method) -> Method:
    """Make known, in this process, a method that is defined outside of this package; returns it.

    Its name can then stand in recipes, and runs and encoders of it can be read: a file names a method and never the
    code of one, so that reading a file runs nothing. Registering a name again replaces the method; ValueError for a
    name of this package's own.
    """
    if chosen.name in NAMES:
        raise ValueError(f"method {chosen.name!r} is one of kinemask's own; give yours another name")
    _REGISTERED[chosen.name] = chosen
    return chosen
