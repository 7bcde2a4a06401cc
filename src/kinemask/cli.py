"""The command line. Commands are thin; what they need is imported when they run, so that --help is instant."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kinemask import __version__
from kinemask.errors import Stopped


def demo(arguments: Sequence[str]) -> None:
    """make recordings, prepare, pre-train HA-CM, evaluate, write a report: minutes on two CPU cores"""
    parser = _parser("demo", demo)
    parser.add_argument("--out", default="kinemask-demo", help="folder for everything it makes (default: %(default)s)")
    from kinemask.demo import run_demo

    run_demo(Path(parser.parse_args(arguments).out))


def prepare(arguments: Sequence[str]) -> None:
    """read a data set in its owners' layout and write a store"""
    parser = _parser("prepare", prepare)
    parser.add_argument("dataset", help="which data set SRC holds (kinemask datasets)")
    parser.add_argument("src", help="the folder (or file) as its owners distribute it")
    parser.add_argument("store", help="the folder to write")
    parser.add_argument("--layout", help="the skeleton, where the data set leaves a choice: a name or a YAML file")
    parser.add_argument("--exclude", metavar="LIST", help="text file of clips to leave out, one name a line")
    parser.add_argument("--strict", action="store_true", help="stop at the first bad file")
    parser.add_argument("--workers", type=int, help="processes that read (default: one per core)")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace the store if it exists")
    parser.add_argument(
        "--split-rule",
        "--split_rule",
        action="append",
        default=[],
        metavar="NAME:COLUMN=a,b",
        help="a further split: clips whose COLUMN is a or b are for testing (repeatable)",
    )
    parser.add_argument(
        "--min-score", "--min_score", type=float, default=0.0, help="joints of this confidence or less are missing"
    )
    parser.add_argument(
        "--name", help="the data set's name in results (default: DATASET's, or a file format's: STORE's)"
    )
    given = vars(parser.parse_args(arguments))
    from kinemask.preparation.prepare import prepare as run

    print(run(given.pop("dataset"), given.pop("src"), given.pop("store"), split_rules=given.pop("split_rule"), **given))


def info(arguments: Sequence[str]) -> None:
    """counts, classes, splits, lengths, missing data, exact duplicates across train and test of a store"""
    parser = _parser("info", info)
    parser.add_argument("store")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    given = parser.parse_args(arguments)
    from kinemask.preparation.info import info as describe

    about = describe(given.store)
    if given.json:
        print(json.dumps(about, indent=1))
        return
    splits = about.pop("splits")
    for name, value in about.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{name.replace('_', ' '):18} {text:.4f}" if isinstance(text, float) else f"{name:18} {text}")
    for name, s in splits.items():
        copies = s["test_duplicates_of_train"]
        leak = f"  ({copies} test clips are exact copies of training clips)" if copies else ""
        print(f"split {name:12} train {s['train']:>7,}  test {s['test']:>7,}{leak}")


def pretrain(arguments: Sequence[str]) -> None:
    """pre-train a recipe on a store: --recipe NAME --data STORE --split NAME [--out RUN] [--KEY VALUE ...]"""
    from kinemask.api import default_run
    from kinemask.configure import named_recipe, parse
    from kinemask.training.pretraining import pretrain as train

    if {"-h", "--help"} & set(arguments) and named_recipe(arguments) is None:
        from kinemask.recipes import recipes as known

        print("usage: kinemask pretrain --recipe NAME --data STORE --split NAME [--out RUN] [--KEY VALUE ...]\n")
        print("recipes, or a .yaml file of your own:")
        _print_lines(known(), indent="  ")
        print("\nkinemask pretrain --recipe NAME --help lists a recipe's settings")
        return
    if "--print_config" in arguments:
        import yaml

        shown = [a for a in arguments if a != "--print_config"]
        settings, _ = parse(["--data", "STORE", "--split", "SPLIT", *shown])
        print(yaml.safe_dump(settings.to_dict(), sort_keys=False), end="")
        return
    settings, given = parse(arguments)
    out = given.out or default_run(given.recipe, settings.data, settings.split, settings.seed)
    done = train(settings, out)
    if _main_process():
        print(done)


def evaluate(arguments: Sequence[str]) -> None:
    """run a protocol with its controls: linear|knn|finetune|... --run RUN --data STORE --split NAME [--seed 0]"""
    from kinemask.protocols.protocols import PROTOCOLS, find_protocol
    from kinemask.protocols.protocols import evaluate as run
    from kinemask.protocols.settings import read_protocol
    from kinemask.runs.results import table

    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: kinemask evaluate PROTOCOL --run RUN --data STORE --split NAME [options]\n\nprotocols:")
        _print_lines({name: protocol.title for name, protocol in PROTOCOLS.items()}, indent="  ")
        print("\nkinemask evaluate PROTOCOL --help lists a protocol's options")
        return
    protocol, *rest = arguments
    given = read_protocol(protocol, find_protocol(protocol), rest)
    results = run(protocol, given.pop("run"), given.pop("data"), given.pop("split"), quiet=False, **given)
    if _main_process():
        print(table(results))
        print("\n".join(result["path"] for result in results))


def ensemble(arguments: Sequence[str]) -> None:
    """fuse the class scores of several runs' evaluations: RUN RUN ... [--weights 2 1 1] [--protocol linear]"""
    parser = _parser("ensemble", ensemble)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--weights", nargs="+", type=float, metavar="W", help="one per run (default: all the same)")
    parser.add_argument("--data", help="evaluations on this store, or on the data set of this name")
    parser.add_argument("--split", help="evaluations on this split")
    parser.add_argument("--protocol", help="evaluations of this protocol")
    parser.add_argument("--seed", nargs="+", type=int, help="evaluations of this seed; several make several results")
    parser.add_argument("--hash", nargs="+", default=[], metavar="HASH8", help="evaluations of these hashes, one a run")
    parser.add_argument("--out", metavar="RUN", help="keep the result with this run (default: the first)")
    given = vars(parser.parse_args(arguments))
    from kinemask.protocols.ensemble import ensemble as fuse
    from kinemask.runs.results import table

    results = fuse(given.pop("runs"), hashes=given.pop("hash"), **given)
    print(table(results))
    print("\n".join(result["path"] for result in results))


def compare(arguments: Sequence[str]) -> None:
    """one table of methods x data x protocols x seeds: --methods M ... --data STORE ... --split NAME [--KEY VALUE]"""
    parser = _parser("compare", compare)
    several = {"nargs": "+", "required": True}
    parser.add_argument("--methods", **several, help="recipes, or methods: their recipe of the data set is taken")
    parser.add_argument("--small", action="store_true", help="for methods, the recipes of two CPU cores")
    parser.add_argument("--data", **several, metavar="STORE")
    parser.add_argument("--split", **several, help="one for all stores, one for each, or several of one store")
    parser.add_argument("--protocols", nargs="+", default=["linear", "knn"], help="default: linear knn")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of pre-training and protocol (default: 0)")
    parser.add_argument(
        "--protocol-seeds", "--protocol_seeds", nargs="+", type=int, help="seeds of the protocols, all on every run"
    )
    parser.add_argument(
        "--out", default="runs/compare", help="folder of runs, results and table (default: %(default)s)"
    )
    parser.add_argument("--no-controls", "--no_controls", dest="controls", action="store_false", help="leave them out")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--slurm", dest="cluster", action="store_const", const="slurm", help="submit to Slurm (--slurm.NAME VALUE)"
    )
    parser.epilog = (
        "Further --KEY VALUE are settings by dotted name: of pre-training (--training.epochs 50), of a protocol"
        " (--linear.epochs 50), of one of the methods alone (--mamp.pretext.tau 0.5), of submitit"
        " (--slurm.timeout_min 600, --slurm.slurm_partition gpu)."
    )
    known, rest = parser.parse_known_args(arguments)
    given = vars(known)
    from kinemask.comparison.compare import compare as run
    from kinemask.comparison.table import markdown
    from kinemask.configure import dotted

    out = given["out"]
    rows = run(**given, settings=dotted(rest), quiet=False)
    print(markdown(rows))
    print("\n".join(str(Path(out) / f"table.{kind}") for kind in ("md", "csv", "html")))


def report(arguments: Sequence[str]) -> None:
    """write one HTML page about runs: results, curves, confusion, t-SNE, moving skeletons"""
    parser = _parser("report", report)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--out", metavar="FILE.html", help="default: report.html in the first run's folder")
    parser.add_argument("--data", metavar="STORE", help="the store to show clips of (default: each run's own)")
    given = parser.parse_args(arguments)
    from kinemask.reports import report as write

    print(write(given.runs, given.out, given.data))


def recipes(arguments: Sequence[str]) -> None:
    """list the recipes"""
    _parser("recipes", recipes).parse_args(arguments)
    from kinemask.recipes import recipes as known

    _print_lines(known())


def datasets(arguments: Sequence[str]) -> None:
    """list the data sets that prepare reads"""
    _parser("datasets", datasets).parse_args(arguments)
    from kinemask.readers import readers

    _print_lines({name: reader.title for name, reader in readers().items()})


def layouts(arguments: Sequence[str]) -> None:
    """list the skeleton layouts"""
    _parser("layouts", layouts).parse_args(arguments)
    from kinemask.skeleton import layout
    from kinemask.skeleton import layouts as known

    shipped = {name: layout(name) for name in known()}
    _print_lines({name: f"{x.num_joints} joints, {x.dims}D, root {x.joints[x.root]}" for name, x in shipped.items()})


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    f.__name__: f
    for f in (demo, prepare, info, pretrain, evaluate, ensemble, compare, report, recipes, datasets, layouts)
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
        print("\nkinemask COMMAND --help tells more")
        return 0
    if arguments[0] == "--version":
        print(f"kinemask {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        return _fail(f"unknown command {name!r}; known: {', '.join(COMMANDS)}")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        COMMANDS[name](rest)
    except (ValueError, OSError, FloatingPointError) as error:
        return _fail(str(error))
    except Stopped as error:
        return _fail(str(error), 3) if _main_process() else 3
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    return 0


def _main_process() -> bool:
    """Whether this process speaks: the first of those that `torchrun` started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _fail(message: str, status: int = 2) -> int:
    print(f"kinemask: {message}", file=sys.stderr)
    return status


def _parser(name: str, command: Callable[..., object]) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"kinemask {name}", description=command.__doc__, allow_abbrev=False)


def _print_lines(lines: dict[str, str], indent: str = "") -> None:
    width = max(map(len, lines), default=0)
    for name, text in lines.items():
        print(f"{indent}{name:{width}}  {text}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
