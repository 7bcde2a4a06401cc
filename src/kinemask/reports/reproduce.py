"""The command lines that give a run and its evaluations again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import yaml

from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.recipes import load_recipe, recipes
from kinemask.reports.runs import Evaluation, Shown
from kinemask.runs.result import Result
from kinemask.runs.run import differences
from kinemask.training.settings import Settings

OWN = "recipe.yaml"
_SECTIONS = {protocol.section for protocol in PROTOCOLS.values() if protocol.section}


def pretrain_command(config: Mapping[str, Any], stores: list[str], out: str) -> tuple[str, str]:
    """The `pretrain` command of a configuration, and the recipe file it needs, or "" where a shipped one will do.

    Of the shipped recipes of the method, the one that takes the fewest changes. stores, out: as to be written.
    """
    if "imported" in config:
        words = [config["method"], config["imported"]["file"], "--out", out]
        words += ["--data", *stores, "--split", config["split"]] if stores else []
        return "kinemask import " + shlex.join(words), ""
    best: tuple[str, dict[str, Any]] | None = None
    for name in recipes():
        if load_recipe(name)["method"] != config["method"]:
            continue
        settings = Settings.from_recipe(name, {"data": config["data"], "split": config["split"]})
        changes = {k: now for k, (_, now) in differences(settings.to_dict(), config).items()}
        if any(k.partition(".")[0] in _SECTIONS for k in changes):
            continue  # of protocols' settings, which pre-training has no options for
        if best is None or len(changes) < len(best[1]):
            best = name, changes
    recipe, changes = best or (OWN, {})
    words = ["--recipe", recipe, "--data", *stores, "--split", config["split"], "--out", out]
    for name, value in ({"seed": config["seed"]} | changes).items():
        if name not in ("data", "split"):
            words += option(name, value)
    return "kinemask pretrain " + shlex.join(words), "" if best else _recipe(config)


def option(name: str, value: Any) -> list[str]:
    """The words that give a setting, by its dotted name, a value."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, list | tuple) and value:
        return [f"--{name}", *map(str, value)]
    return [f"--{name}", value if isinstance(value, str) else json.dumps(value)]


def _recipe(config: Mapping[str, Any]) -> str:
    return yaml.safe_dump({k: v for k, v in config.items() if k not in ("data", "split", "seed")})


def evaluate_command(evaluation: Evaluation, run: str, store: str) -> str:
    """The `evaluate` command of an evaluation, all its seeds. run, store: as to be written."""
    first = evaluation.first
    if first.members:
        return _ensemble_command(first)
    words = [first.protocol, *(["--recipe", OWN, "--out", run] if first.scratch else ["--run", run])]
    words += ["--data", store, "--split", first.split, "--seed", *(str(r.seed) for r in evaluation.results)]
    if first.encoder not in ("encoder", None):
        words += ["--encoder", first.encoder]
    for name, value in changes(first).items():
        words += option(name, value)
    if not first.baselines_asked:
        words += option("baselines", False)
    return "kinemask evaluate " + shlex.join(words)


def changes(result: Result) -> dict[str, Any]:
    """Settings of a result, `sampling.` of its windows included, that neither defaults nor the encoder's run give."""
    protocol, config = PROTOCOLS[result.protocol], result.trained.settings
    section = dict(config.get(protocol.section) or {})
    sampling = config["sampling"] | config.get("test_view", {}) | section.pop("sampling", {})
    usual = _merged(_plain(asdict(protocol.settings())), section)
    given = _plain({"sampling": result.sampling} | result.settings)
    return {name: now for name, (_, now) in differences({"sampling": sampling} | usual, given).items()}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As a file has them: lists for tuples."""
    return json.loads(json.dumps(values))


def _merged(usual: dict[str, Any], section: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with those of a section in their place."""
    out = dict(usual)
    for name, value in section.items():
        nested = isinstance(value, Mapping) and isinstance(usual.get(name), Mapping)
        out[name] = _merged(usual[name], value) if nested else value
    return out


def _ensemble_command(result: Result) -> str:
    """The `ensemble` command of the lowest seed's result, its members named by their hashes."""
    runs, hashes = zip(*((member.run, member.hash) for member in result.members), strict=True)
    weights = map(str, result.settings["weights"])
    return shlex.join(["kinemask", "ensemble", *runs, "--weights", *weights, "--hash", *hashes])


def commands(shown: Shown) -> tuple[list[str], str]:
    """Every command behind a run's part of the page, and the recipe file that the first one needs (or "")."""
    first, recipe, names = [], "", [store.rstrip("/").rpartition("/")[2] for store in shown.stores]
    if shown.run.pretrained:
        command, recipe = pretrain_command(shown.run.config, names, shown.name)
        first = [command]
    elif scratch := [e.first.trained.settings for e in shown.evaluations if e.first.scratch]:
        recipe = _recipe(scratch[0])
    return [*first, *(evaluate_command(e, shown.name, _store(e.first, names)) for e in shown.evaluations)], recipe


def _store(result: Result, names: list[str]) -> str:
    """The name of the store that a result is of: one of the run's, or else the data set's."""
    known = {json.dumps(s.sha256, sort_keys=True): name for s, name in zip(result.trained.sources, names, strict=False)}
    return known.get(json.dumps(result.store_sha256, sort_keys=True), result.data)
