"""The command lines that give a run and its evaluations again."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

import yaml

from kinemask.configure import parse
from kinemask.evaluation.protocols import PROTOCOLS
from kinemask.evaluation.report.runs import Evaluation, Run
from kinemask.recipes import load_recipe, recipes
from kinemask.train.settings import flatten

OWN = "recipe.yaml"


def pretrain_command(config: dict[str, Any], store: str, out: str) -> tuple[str, str]:
    """The `pretrain` command of a configuration, and the recipe file it needs, or "" where a shipped one will do.

    Of the shipped recipes of the method, the one that takes the fewest changes. store, out: as to be written.
    """
    wanted = flatten(config)
    best: tuple[int, str, dict[str, Any]] | None = None
    for name in recipes():
        if load_recipe(name)["method"] != config["method"]:
            continue
        settings, _ = parse(None, {"data": config["data"], "split": config["split"]}, name)
        given = flatten(settings.to_dict())
        changes = {k: v for k, v in wanted.items() if given.get(k) != v}
        if best is None or len(changes) < best[0]:
            best = len(changes), name, changes
    recipe, changes = (best[1], best[2]) if best else (OWN, {})
    changes = {k: v for k, v in changes.items() if k not in ("data", "split")}
    changes.setdefault("seed", config["seed"])
    words = ["--recipe", recipe, "--data", store, "--split", config["split"], "--out", out]
    for k, v in changes.items():
        words += [f"--{k}", v if isinstance(v, str) else yaml.safe_dump(v, default_flow_style=True).split("\n")[0]]
    text = "" if best else yaml.safe_dump({k: v for k, v in config.items() if k not in ("data", "split", "seed")})
    return "kinemask pretrain " + shlex.join(words), text


def evaluate_command(evaluation: Evaluation, run: str, store: str) -> str:
    """The `evaluate` command of an evaluation, all its seeds. run, store: as to be written."""
    about = evaluation.about
    seeds = [r["seed"] for r in evaluation.results]
    words = [about["protocol"], "--run", run, "--data", store, "--split", about["split"], "--seed"]
    words.append(str(seeds[0]) if len(seeds) == 1 else str(seeds).replace(" ", ""))
    if about["encoder"] != "encoder":
        words += ["--encoder", about["encoder"]]
    if about["test_clips_sampled"] != about["run"]["settings"]["sampling"]["test_clips"]:
        words += ["--test_clips", str(about["test_clips_sampled"])]
    if not about["controls"]:
        words += ["--controls", "false"]
    protocol = PROTOCOLS.get(about["protocol"])
    usual = asdict(protocol.settings()) if protocol else {}
    for k, v in about["settings"].items():
        if usual.get(k) != v:
            words += [f"--{k}", str(v)]
    return "kinemask evaluate " + shlex.join(words)


def commands(run: Run) -> tuple[list[str], str]:
    """Every command behind a run's part of the page, and the recipe file that the first one needs (or "")."""
    first, recipe = pretrain_command(run.config, run.store_name, run.name)
    own = lambda e: e.about["store_sha256"] == e.about["run"]["data"]["sha256"]
    stores = [run.store_name if own(e) else e.about["data"] for e in run.evaluations]
    again = [evaluate_command(e, run.name, store) for e, store in zip(run.evaluations, stores, strict=True)]
    return [first, *again], recipe
