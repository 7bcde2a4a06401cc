"""The command line: a parser for each command, made from the function that it calls, when the command runs."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from kinemask.checks import meant
from kinemask.errors import Stopped, shorten
from kinemask.version import __version__

Words = Sequence[str]


def demo(words: Words) -> None:
    """make recordings, prepare, pre-train HA-CM, evaluate, write a report: minutes on two CPU cores"""
    given = _read("demo", words)
    from kinemask.demo import run_demo

    run_demo(**given)


def prepare(words: Words) -> None:
    """convert a data set or your recordings into a store"""
    given = _read("prepare", words)
    from kinemask import api

    print(api.prepare(**given))


def info(words: Words) -> None:
    """what a store holds, and what looks wrong: classes, people, lengths, missing joints, units, motion, duplicates"""
    given = _read("info", words)
    as_json = given.pop("json")
    from kinemask import api

    about = api.info(**given)
    if as_json:
        print(json.dumps(about, indent=1))
        return
    from kinemask.preparation.portrait import describe, portrait
    from kinemask.store.opening import open_store

    print(describe(about))
    print(portrait(open_store(given["store"])))


def train(words: Words) -> None:
    """from labelled recordings to a recogniser and a report: DATA [--out DIR]"""
    given = _read("train", words)
    from kinemask import api

    print(api.train(**given, quiet=False))


def predict(words: Words) -> None:
    """label recordings with a recogniser: DIR INPUT ... [--out FILE.csv] [--window SECONDS]"""
    given = _read("predict", words)
    from kinemask import api
    from kinemask.recognition.output import as_table

    found = api.predict(**given, quiet=False)
    unsure = sum(one.label == "unsure" for one in found)
    clips = len({one.clip for one in found})
    if given["out"] is None:
        print(as_table(found))
    else:
        print(f"{given['out']}: {len(found):,} labels of {clips:,} recordings{f', {unsure:,} unsure' * bool(unsure)}")


def live(words: Words) -> None:
    """label poses while they arrive, JSON lines (standard input, a file that grows) or a camera: DIR [--source FILE]"""
    given = _read("live", words)
    from kinemask import api
    from kinemask.recognition.output import as_lines

    try:
        for one in api.live(**given, quiet=False):
            print(as_lines([one]), end="", flush=True)
    except BrokenPipeError:  # whoever reads the labels has left; what is not written cannot be, at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def embed(words: Words) -> None:
    """write the features of recordings: DIR|RUN INPUT ... --out FILE.npz|csv|parquet"""
    given = _read("embed", words)
    from kinemask import api

    found = api.embed(**given, quiet=False)
    print(f"{given['out']}: {len(found.features):,} recordings, {found.features.shape[1]:,} features each")


def pretrain(words: Words) -> None:
    """pre-train a recipe on a store: --recipe NAME --data STORE --split NAME [--out RUN] [--KEY VALUE ...]"""
    from kinemask.arguments import peek
    from kinemask.recipes import recipe_names
    from kinemask.recipes import recipes as known

    recipe = peek(words, "recipe")
    if recipe is None and {"-h", "--help"} & set(words):
        print("usage: kinemask pretrain --recipe NAME --data STORE ... --split NAME [--out RUN] [--KEY VALUE ...]\n")
        print("recipes, or a .yaml file of your own:")
        _print_lines(known(), indent="  ")
        print("\nRun `kinemask pretrain --recipe NAME --help` for a recipe's settings.")
        return
    if recipe is None:
        raise ValueError(f"--recipe NAME is required; known: {', '.join(recipe_names())}")
    from kinemask.api import default_run
    from kinemask.cli.parsers import pretrain as parser_of
    from kinemask.training.settings import Settings

    content, parser = parser_of(words)
    given = parser.read(words)
    if shown := given.pop("print_config", "false") == "true":
        given = {"data": ["STORE"], "split": "SPLIT", **given}
    parsed = parser.parse(given)
    settings = Settings.of(content, parsed)
    if shown:
        import yaml

        print(yaml.safe_dump(settings.to_dict(), sort_keys=False), end="")
        return
    from kinemask.training.pretraining import pretrain as train

    done = train(settings, parsed.out or default_run(settings, recipe))
    if _main_process():
        print(done)


def import_(words: Words) -> None:
    """make a run of a checkpoint that a paper's code released: mae|mamp|hacm|masksem FILE.pth [--out RUN]"""
    given = _read("import", words)
    from kinemask import api

    print(api.import_released(**given))


def evaluate(words: Words) -> None:
    """run a protocol with its baselines: linear|knn|finetune|... --run RUN [--data STORE --split NAME] [--seed 0 1]"""
    if not words or words[0] in ("-h", "--help"):
        from kinemask.protocols.catalogue import PROTOCOLS

        print("usage: kinemask evaluate PROTOCOL --run RUN [--data STORE --split NAME] [options]\n\nprotocols:")
        _print_lines({name: protocol.title for name, protocol in PROTOCOLS.items()}, indent="  ")
        print("\nRun `kinemask evaluate PROTOCOL --help` for a protocol's options.")
        return
    from kinemask.cli.parsers import evaluate as parser_of

    parser = parser_of(words)
    given = parser.read(words[1:])
    parsed = parser.parse(given)
    own = {name: value for name, value in given.items() if name not in parser.of_function}
    sampling = {name.removeprefix("sampling."): own.pop(name) for name in list(own) if name.startswith("sampling.")}
    options = {name: parsed[name] for name in parser.of_function}
    from kinemask import api
    from kinemask.runs.text import table

    results = api.evaluate(words[0], **options, sampling=sampling, quiet=False, **own)
    if _main_process():
        print(table(results))
        print("\n".join(str(result.path) for result in results))


def ensemble(words: Words) -> None:
    """fuse the class scores of several runs' evaluations: RUN RUN ... [--weights 2 1 1] [--protocol linear]"""
    given = _read("ensemble", words)
    from kinemask import api
    from kinemask.runs.text import table

    results = api.ensemble(**given)
    print(table(results))
    print("\n".join(str(result.path) for result in results))


def compare(words: Words) -> None:
    """one table of methods x data x protocols x seeds, or a paper's: --methods M ... --data STORE ... | --ablation T"""
    from kinemask.cli.parsers import check_settings
    from kinemask.cli.parsers import compare as parser_of

    parser = parser_of(words)
    given = parser.read(words)
    settings = {name: given.pop(name) for name in list(given) if "." in name}
    options = vars(parser.parse(given))
    named = {*settings, *(name.replace("-", "_") for name in options["sweep"][:1])}
    check_settings(named, options["methods"], options["protocols"], options["ablation"])
    from kinemask import api
    from kinemask.comparison.table import markdown

    rows = api.compare(**options, settings=settings, quiet=False)
    print(markdown(rows))
    print("\n".join(map(str, rows.files)))


def report(words: Words) -> None:
    """write one HTML page about runs, or figures for a paper: RUN ... [--figures DIR] [--classes A B] [--clip NAME]"""
    given = _read("report", words)
    from kinemask import api

    print(api.report(**given, quiet=False))


def view(words: Words) -> None:
    """moving skeletons of a store or of recordings: STORE|FILE [--clip NAME ...] [--save clip.html|gif|mp4]"""
    given = _read("view", words)
    from kinemask import api

    print(api.view(**given))


def export(words: Words) -> None:
    """a recogniser or encoder with everything inside, for other programs and browsers: DIR|RUN model.onnx|model.pt2"""
    given = _read("export", words)
    from kinemask import api

    print(api.export(**given))


def recipes(words: Words) -> None:
    """list the recipes"""
    _read("recipes", words)
    from kinemask.recipes import recipes as known

    _print_lines(known())


def datasets(words: Words) -> None:
    """list the data sets that prepare reads"""
    _read("datasets", words)
    from kinemask.readers import readers

    _print_lines({name: reader.title for name, reader in readers().items()})


def layouts(words: Words) -> None:
    """list the skeleton layouts"""
    _read("layouts", words)
    from kinemask.skeleton import layout
    from kinemask.skeleton import layouts as known

    shipped = {name: layout(name) for name in known()}
    _print_lines({name: f"{x.num_joints} joints, {x.dims}D, root {x.joints[x.root]}" for name, x in shipped.items()})


def completion(words: Words) -> None:
    """print a script that completes commands and options: eval "$(kinemask completion bash)" """
    given = _read("completion", words)
    from kinemask.cli.completion import script

    print(script(given["shell"]))


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    f.__name__.rstrip("_"): f
    for f in (
        demo,
        prepare,
        info,
        train,
        predict,
        live,
        embed,
        pretrain,
        import_,
        evaluate,
        ensemble,
        compare,
        report,
        view,
        export,
        recipes,
        datasets,
        layouts,
        completion,
    )
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 2 for a user's mistake, 3 for training that was stopped."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter still gets the rest
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: kinemask COMMAND ...\n\nMasked self-supervised pre-training on human skeleton sequences.\n")
        _print_lines({name: (command.__doc__ or "").strip() for name, command in COMMANDS.items()}, indent="  ")
        print("\nRun `kinemask COMMAND --help` for details.")
        return 0
    if arguments[0] == "--version":
        print(f"kinemask {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        return _fail(f"unknown command {name!r}{meant(name, COMMANDS)}")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # also where SIGINT is ignored
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            COMMANDS[name](rest)
    except (ValueError, OSError, FloatingPointError) as error:
        return _fail(str(error))
    except Stopped as error:
        return _fail(str(error), 3) if _main_process() else 3
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
    return 0


def _main_process() -> bool:
    """Whether this process speaks: the first of those that `torchrun` started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _warn(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any) -> None:
    """A plain warning is a line, without the place in the code; others, which are for programmers, keep it."""
    if category is not UserWarning:
        print(warnings.formatwarning(message, category, filename, lineno), end="", file=sys.stderr)
    elif _main_process():
        print(f"warning: {message}", file=sys.stderr)


def _fail(message: str, status: int = 2) -> int:
    print(f"kinemask: {shorten(message)}", file=sys.stderr)
    return status


def _read(command: str, words: Words) -> dict[str, Any]:
    """What the words of a command give to the function that it calls."""
    from kinemask.cli import parsers

    parser = parsers.of_command(command)(words)
    return vars(parser.parse(parser.read(words)))


def _print_lines(lines: dict[str, str], indent: str = "") -> None:
    width = max(map(len, lines), default=0)
    for name, text in lines.items():
        print(f"{indent}{name:{width}}  {text}".rstrip())
