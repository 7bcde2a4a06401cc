"""Parsing a protocol's options, from the command line or from Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from kinemask.train.settings import Device


def protocol_parser(name: str, settings: type) -> ArgumentParser:
    """The parser of `evaluate NAME`: what every protocol takes, then the protocol's own options."""
    about = (settings.__doc__ or "").split("\n")[0]
    parser = ArgumentParser(
        prog=f"kinemask evaluate {name}", description=about, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("--run", type=str, required=True, help="folder of a run that pretrain wrote")
    parser.add_argument("--data", type=str, required=True, help="the store")
    parser.add_argument("--split", type=str, required=True, help="a split of the store")
    parser.add_argument("--seed", type=int | list[int], default=0, help="of the protocol's training: one, or [0,1,2]")
    parser.add_argument("--encoder", type=str, default="encoder", help="which encoder file of the run")
    parser.add_argument("--test_clips", type=int | None, help="windows sampled per test clip (default: the recipe's)")
    parser.add_argument("--controls", type=bool, default=True, help="also score untrained encoders and raw coordinates")
    parser.add_argument("--device", type=Device, default="auto", help="auto takes CUDA where there is one")
    parser.add_class_arguments(settings)
    return parser


def parse_protocol(settings: type, values: Mapping[str, Any]) -> Any:
    """A protocol's settings from plain values; raises ValueError for unknown names and wrong types."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(settings)
    try:
        return settings(**parser.parse_object(Namespace(**values)).as_dict())
    except Exception as error:
        raise ValueError(str(error)) from None
