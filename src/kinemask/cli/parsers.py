"""A parser for each command, made from the function that the command calls. PyTorch is not imported."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Any

from kinemask.arguments import Parser, option, peek, summary
from kinemask.checks import closest
from kinemask.plain_file import read_yaml

Words = Sequence[str]


def _of(command: str, function: Callable[..., Any], skip: Collection[str] = (), positional: bool = True) -> Parser:
    parser = Parser(command, summary(function))
    parser.add(function, skip, positional)
    return parser


def of_command(command: str) -> Callable[[Words], Parser]:
    """What makes a command's parser. A command that is a word of Python's has an underscore behind its name here."""
    made: Callable[[Words], Parser] = globals()[f"{command}_" if iskeyword(command) else command]
    return made


def demo(words: Words) -> Parser:
    from kinemask.demo import run_demo

    return _of("demo", run_demo)


def prepare(words: Words) -> Parser:
    from kinemask import api

    return _of("prepare", api.prepare, skip={"progress"})


def info(words: Words) -> Parser:
    from kinemask import api

    parser = _of("info", api.info)
    parser.add_flag("json", "machine-readable")
    return parser


def train(words: Words) -> Parser:
    from kinemask import api

    return _of("train", api.train, skip={"quiet"})


def predict(words: Words) -> Parser:
    from kinemask import api

    return _of("predict", api.predict, skip={"quiet"})


def live(words: Words) -> Parser:
    from kinemask import api

    return _of("live", api.live, skip={"quiet"})


def embed(words: Words) -> Parser:
    from kinemask import api
    from kinemask.nn.settings import ReadoutSettings

    parser = _of("embed", api.embed, skip={"quiet", "readout"})
    parser.add_section(ReadoutSettings, "readout")
    return parser


def pretrain(words: Words) -> tuple[dict[str, Any], Parser]:
    """The content of the recipe that the words name, and the parser of its settings."""
    from kinemask import api
    from kinemask.training.settings import recipe_parser

    recipe, parser = recipe_parser(peek(words, "recipe") or "", "pretrain", summary(api.pretrain))
    parser.add(api.pretrain, skip={"data", "split", "quiet"})
    parser.add_flag("print_config", "print all settings, resolved, and stop")
    return recipe, parser


def import_(words: Words) -> Parser:
    from kinemask import api

    return _of("import", api.import_released)


def evaluate(words: Words) -> Parser:
    """The parser of a protocol, which the first word names; defaults are those of the run or recipe that it names."""
    from kinemask import api
    from kinemask.protocols.catalogue import find_protocol
    from kinemask.windows.settings import AUGMENTATION, OF_ENCODER, SamplingSettings

    protocol = find_protocol(words[0])
    parser = Parser(f"evaluate {protocol.name}", f"{protocol.title}. {summary(api.evaluate)}")
    parser.add_section(protocol.settings)
    parser.add_section(SamplingSettings, "sampling", skip={*OF_ENCODER, *(() if protocol.augments else AUGMENTATION)})
    source = _source(peek(words, "run"), peek(words, "recipe") if protocol.trains else None)
    changes = source.get(protocol.section) or {}
    sampling = {**source.get("sampling", {}), **changes.get("sampling", {})}
    parser.set_usual({k: v for k, v in changes.items() if k != "sampling"})
    parser.set_usual(parser.among(sampling, "sampling"))
    if not source:
        parser.vague("sampling", "the run's")
    parser.add(api.evaluate, skip={"protocol", "sampling", "quiet", *(() if protocol.trains else ("recipe", "out"))})
    return parser


def _source(run: str | None, recipe: str | None) -> Mapping[str, Any]:
    """Settings of the run or recipe that is evaluated, as far as they are there; whether they are is told later."""
    from kinemask.recipes import load_recipe

    if recipe is not None:
        return load_recipe(recipe)
    path = Path(run or "") / "config.yaml"
    config = read_yaml(path) if run and path.is_file() else {}
    return config if isinstance(config, dict) and "pretext" in config else {}


def ensemble(words: Words) -> Parser:
    from kinemask import api

    return _of("ensemble", api.ensemble)


def compare(words: Words) -> Parser:
    """All dotted names are taken; `check_settings` knows which of them mean something."""
    from kinemask import api

    parser = _of("compare", api.compare, skip={"quiet", "settings"}, positional=False)
    parser.free = lambda name: "." in name
    parser.after = (
        "Further --KEY VALUE are settings by dotted name: of pre-training (--training.epochs 50), of a protocol"
        " (--linear.epochs 50), of one of the methods alone (--mamp.pretext.tau 0.5), of submitit"
        " (--slurm.timeout-min 600, --slurm.slurm-partition gpu)."
    )
    return parser


def check_settings(
    settings: Collection[str], methods: Sequence[str], protocols: Sequence[str], ablation: str | None
) -> None:
    """Raise ValueError for the name of a setting of `compare` that belongs to none of its methods and protocols."""
    from kinemask.comparison.papers import paper_table
    from kinemask.pretext.methods import NAMES
    from kinemask.protocols.catalogue import find_protocol
    from kinemask.recipes import recipe_names
    from kinemask.training.settings import recipe_parser
    from kinemask.windows.settings import AUGMENTATION, OF_ENCODER, SamplingSettings

    table = None if ablation is None else paper_table(ablation)
    methods = methods or (table.methods if table else ())
    known: set[str] = set()
    for protocol in protocols or ([table.protocol] if table else ["linear", "knn"]):
        chosen, parser = find_protocol(protocol), Parser()
        parser.add_section(chosen.settings)
        skip = {*OF_ENCODER, *(() if chosen.augments else AUGMENTATION)}
        parser.add_section(SamplingSettings, "sampling", skip=skip)
        known |= {f"{protocol}.{name}" for name in parser.known}
    for one in methods if settings else ():
        recipe = next(name for name in recipe_names() if name.startswith(f"{one}-")) if one in NAMES else one
        names = [name for name in recipe_parser(recipe)[1].known if "." in name]
        known |= {*names, *(f"{Path(one).stem}.{name}" for name in names)}
    for name in settings:
        if name not in known and not name.startswith("slurm."):
            raise ValueError(f"unknown option {option(name)}{closest(name, sorted(known), option)}")


def report(words: Words) -> Parser:
    from kinemask import api

    return _of("report", api.report, skip={"quiet"})


def view(words: Words) -> Parser:
    from kinemask import api

    return _of("view", api.view)


def export(words: Words) -> Parser:
    from kinemask import api

    return _of("export", api.export)


def recipes(words: Words) -> Parser:
    return Parser("recipes", "List the recipes.")


def datasets(words: Words) -> Parser:
    return Parser("datasets", "List the data sets that prepare reads.")


def layouts(words: Words) -> Parser:
    return Parser("layouts", "List the skeleton layouts.")


def completion(words: Words) -> Parser:
    from kinemask.cli.completion import script

    return _of("completion", script)
