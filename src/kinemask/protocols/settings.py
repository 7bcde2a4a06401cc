"""Parsing a protocol's options, from the command line or from Python."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from kinemask.models.encoders import find, read_weights
from kinemask.pretext import method
from kinemask.protocols.case import Protocol
from kinemask.recipes import load_recipe
from kinemask.training.settings import Device, instantiate, nest, read_arguments


def read_protocol(name: str, protocol: Protocol, arguments: Sequence[str]) -> dict[str, Any]:
    """Command-line arguments of `evaluate NAME` as the arguments of `evaluate`; raises ValueError."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--run", "--recipe", "--encoder"):
        first.add_argument(option)
    try:
        given = first.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None
    settings = protocol.settings
    if given.run or given.recipe:
        settings = settings_of(protocol, given.run, given.recipe, given.encoder or "encoder")
    return read_arguments(protocol_parser(name, protocol, settings), arguments).as_dict()


def settings_of(protocol: Protocol, run: str | Path | None, recipe: str | None, encoder: str) -> type:
    """A protocol's settings for the method of a run's encoder, or of a recipe.

    Raises ValueError unless one of the two is given, and for a recipe where the protocol needs a run.
    """
    if recipe is not None and not protocol.trains:
        raise ValueError("recipe: this protocol trains no encoder, so it needs a run")
    if (run is None) == (recipe is None):
        raise ValueError("either a run or a recipe is needed" if protocol.trains else "a run is needed")
    if run is None and encoder != "encoder":
        raise ValueError(f"encoder: without a run there is no file {encoder} to start from")
    if run is not None:
        chosen = read_weights(encoder_file(run, encoder), "an encoder")[0].get("record", {}).get("method", "")
    else:
        chosen = load_recipe(recipe or "")["method"]
    return protocol.settings_of(method(chosen), scratch=run is None)


def encoder_file(run: str | Path, name: str) -> Path:
    """The encoder file of that name, without its ending, in a run's folder; raises ValueError where it is absent.

    teacher and student are the two that some methods leave.
    """
    if Path(name).name != name or "\\" in name:
        raise ValueError(f"encoder: the name of a file of the run without its ending, not {name!r}")
    teacher, student = (Path(run) / f"{stem}.safetensors" for stem in ("encoder", "encoder-student"))
    roles = {"teacher": teacher, "student": student}
    if name in roles and teacher.exists() and not student.exists():
        raise ValueError(f"encoder: {run} has no teacher and student, its method leaves one encoder")
    return find(roles.get(name, Path(run) / f"{name}.safetensors"), "encoder")


def protocol_parser(name: str, protocol: Protocol, settings: type) -> ArgumentParser:
    """The parser of `evaluate NAME`: what every protocol takes, then its own settings."""
    about = (settings.__doc__ or "").split("\n")[0]
    parser = ArgumentParser(
        prog=f"kinemask evaluate {name}", description=about, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("--run", type=str, required=not protocol.trains, help="folder of a run that pretrain wrote")
    if protocol.trains:
        parser.add_argument("--recipe", type=str, help="in place of a run: train a recipe's encoder from scratch")
        parser.add_argument("--out", type=str, help="folder of the fine-tuned run (default: one in RUN/finetune)")
        usual = "(default: as in the run or recipe)"
        parser.add_argument(
            "--rotation", type=float | tuple[float, float, float] | None, help=f"largest rotation, radians {usual}"
        )
        parser.add_argument(
            "--crop", type=tuple[float, float] | None, help=f"a crop's share of the clip, from and to {usual}"
        )
        parser.add_argument("--min_crop_frames", type=int | None, help=f"frames that a crop has at least {usual}")
    parser.add_argument("--data", type=str, required=True, help="the store")
    parser.add_argument("--split", type=str, required=True, help="a split of the store")
    seeds = protocol.seeds[0] if len(protocol.seeds) == 1 else list(protocol.seeds)
    about = "of the protocol's training: one, or [0,1,2]"
    parser.add_argument("--seed", type=int | list[int], default=seeds, help=about)
    parser.add_argument("--encoder", type=str, default="encoder", help="a file of the run, or teacher or student")
    parser.add_argument("--test_clips", type=int | None, help="windows sampled per test clip (default: the recipe's)")
    parser.add_argument("--controls", type=bool, default=True, help="also score what knows less, to compare with")
    parser.add_argument("--device", type=Device, default="auto", help="auto takes CUDA where there is one")
    parser.add_class_arguments(settings)
    return parser


def parse_protocol(settings: type, values: Mapping[str, Any]) -> Any:
    """A protocol's settings from plain values; raises ValueError for unknown names and wrong types."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(settings)
    try:
        return settings(**vars(instantiate(parser, parser.parse_object(nest(values)))))
    except Exception as error:
        raise ValueError(str(error)) from None
