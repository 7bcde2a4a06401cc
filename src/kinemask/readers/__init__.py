"""Readers: one per data set, each for the layout in which its owners distribute it."""

from __future__ import annotations

from kinemask.readers import (
    arrays,
    coco,
    mediapipe,
    ntu,
    nw_ucla,
    openpose,
    penn_action,
    pku_mmd,
    pyskl,
    sbu,
    utd_mhad,
)
from kinemask.readers.base import Catalogue, Failure, Reader, ReadOptions, Row, SplitRule
from kinemask.readers.cleaning import Rejected

__all__ = ["READERS", "Catalogue", "Failure", "ReadOptions", "Reader", "Rejected", "Row", "SplitRule", "reader"]

READERS: dict[str, Reader] = {
    r.name: r
    for r in (
        ntu.NTU60,
        ntu.NTU120,
        pku_mmd.PART_1,
        pku_mmd.PART_2,
        pyskl.READER,
        nw_ucla.READER,
        utd_mhad.READER,
        sbu.READER,
        penn_action.READER,
        arrays.READER,
        mediapipe.READER,
        openpose.READER,
        coco.READER,
        ntu.SYNTHETIC,
    )
}


def reader(name: str) -> Reader:
    """Reader of a data set by its name; ValueError that lists the names."""
    if name not in READERS:
        raise ValueError(f"no reader {name!r}; there are: {', '.join(READERS)}")
    return READERS[name]
