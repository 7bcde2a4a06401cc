"""The command lines that give a run and its evaluations again."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import Any

import yaml

from kinemask.arguments import flatten
from kinemask.pretext import method
from kinemask.protocols.protocols import PROTOCOLS
from kinemask.recipes import load_recipe, recipes
from kinemask.reports.runs import Evaluation, Run
from kinemask.training.settings import Settings

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
        settings = Settings.from_recipe(name, {"data": config["data"], "split": config["split"]})
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
    return "kinemask pretrain " + shlex.join(words), "" if best else _recipe(config)


def _recipe(config: dict[str, Any]) -> str:
    return yaml.safe_dump({k: v for k, v in config.items() if k not in ("data", "split", "seed")})


def evaluate_command(evaluation: Evaluation, run: str, store: str) -> str:
    """The `evaluate` command of an evaluation, all its seeds. run, store: as to be written."""
    about = evaluation.about
    if "members" in about:
        return _ensemble_command(about)
    seeds = [r["seed"] for r in evaluation.results]
    scratch = "recipe" in about
    words = [about["protocol"], *(["--recipe", OWN, "--out", run] if scratch else ["--run", run])]
    words += ["--data", store, "--split", about["split"], "--seed"]
    words.append(str(seeds[0]) if len(seeds) == 1 else str(seeds).replace(" ", ""))
    if about["encoder"] != "encoder":
        words += ["--encoder", about["encoder"]]
    if about["test_clips_sampled"] != about["run"]["settings"]["sampling"]["test_clips"]:
        words += ["--test_clips", str(about["test_clips_sampled"])]
    for k, v in about.get("augmentation", {}).items():
        words += [f"--{k}", json.dumps(v)]
    if not about["controls"]:
        words += ["--controls", "false"]
    protocol = PROTOCOLS.get(about["protocol"])
    usual = asdict(protocol.settings_of(method(about["run"]["method"]), scratch)()) if protocol else {}
    usual = flatten(json.loads(json.dumps(usual)))
    for k, v in flatten(about["settings"]).items():
        if usual.get(k) != v:
            words += [f"--{k}", str(v)]
    return "kinemask evaluate " + shlex.join(words)


def _ensemble_command(about: dict[str, Any]) -> str:
    """The `ensemble` command of the lowest seed's result, its members named by their hashes."""
    runs, weights = about["settings"]["runs"], about["settings"]["weights"]
    hashes = [m["hash"] for m in about["members"]]
    return shlex.join(["kinemask", "ensemble", *runs, "--weights", *map(str, weights), "--hash", *hashes])


def commands(run: Run) -> tuple[list[str], str]:
    """Every command behind a run's part of the page, and the recipe file that the first one needs (or "")."""
    first, recipe = [], ""
    if "pretext" in run.config:
        command, recipe = pretrain_command(run.config, run.store_name, run.name)
        first = [command]
    elif scratch := [e.about["run"]["settings"] for e in run.evaluations if "recipe" in e.about]:
        recipe = _recipe(scratch[0])
    own = lambda e: e.about["store_sha256"] == e.about["run"]["data"]["sha256"]
    stores = [run.store_name if own(e) else e.about["data"] for e in run.evaluations]
    again = [evaluate_command(e, run.name, store) for e, store in zip(run.evaluations, stores, strict=True)]
    return [*first, *again], recipe
