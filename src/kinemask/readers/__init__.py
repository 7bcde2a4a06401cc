"""Readers: one per data set or file format, a module each; `register` adds one from outside."""

from __future__ import annotations

from importlib import import_module

from kinemask.checks import meant
from kinemask.readers.base import Complete, Failure, Item, Reader, ReadOptions, Scan, SplitRule
from kinemask.readers.cleaning import Rejected

__all__ = [
    "NAMES",
    "Complete",
    "Failure",
    "Item",
    "ReadOptions",
    "Reader",
    "Rejected",
    "Scan",
    "SplitRule",
    "reader",
    "readers",
    "register",
    "registered",
]

_HOME = {  # the module of each reader, and its name there
    "ntu60": "ntu.NTU60",
    "ntu120": "ntu.NTU120",
    "pku-mmd-1": "pku_mmd.PART_1",
    "pku-mmd-2": "pku_mmd.PART_2",
    "pyskl": "pyskl.READER",
    "bvh": "bvh.READER",
    "st-gcn": "st_gcn.READER",
    "kinetics-skeleton": "kinetics_skeleton.READER",
    "nw-ucla": "nw_ucla.READER",
    "utd-mhad": "utd_mhad.READER",
    "sbu": "sbu.READER",
    "penn-action": "penn_action.READER",
    "arrays": "arrays.READER",
    "mediapipe": "mediapipe.READER",
    "openpose": "openpose.READER",
    "coco17": "coco.READER",
    "synthetic": "synthetic.READER",
}
NAMES = tuple(_HOME)
_REGISTERED: dict[str, Reader] = {}


def reader(name: str) -> Reader:
    """Reader of a data set by its name; ValueError that says which may be meant. Imports that reader only."""
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in _HOME:
        raise ValueError(f"unknown data set {name!r}{meant(name, (*NAMES, *_REGISTERED))}")
    module, variable = _HOME[name].split(".")
    return getattr(import_module(f"kinemask.readers.{module}"), variable)


def readers() -> dict[str, Reader]:
    """All readers by name."""
    return {name: reader(name) for name in (*NAMES, *_REGISTERED)}


def registered() -> tuple[str, ...]:
    """Names of the readers from outside of this package."""
    return tuple(_REGISTERED)


def register(chosen: Reader) -> Reader:
    """Make known, in this process, a reader that is defined outside of this package; returns it.

    Registering a name again replaces the reader; ValueError for a name of this package's own.
    """
    if chosen.name in NAMES:
        raise ValueError(f"reader {chosen.name!r} is one of kinemask's own; give yours another name")
    _REGISTERED[chosen.name] = chosen
    return chosen
