"""Protocols on a run, and what they say side by side."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kinemask.training.settings import Device

if TYPE_CHECKING:
    from kinemask.comparison.table import Table
    from kinemask.runs.result import Results


def evaluate(
    protocol: str,
    run: str | Path | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    seed: int | Sequence[int] | None = None,
    encoder: str = "encoder",
    sampling: Mapping[str, Any] | None = None,
    baselines: bool = True,
    overwrite: bool = False,
    device: Device = "auto",
    quiet: bool = True,
    **settings: Any,
) -> Results:
    """Run one protocol on a run's encoder, with its baselines; writes and returns a result per seed.

    A result that the run has already is found, not computed again. sampling: what differs from how the run sampled, by
    name. settings: the protocol's own by dotted name, e.g. `views=0`, `**{"head.dropout": 0.5}`; the recipe may have
    changed their defaults. Raises ValueError for an unknown protocol, split or setting, and for a store whose layout is
    not the encoder's, unless the protocol trains the encoder; and what training raises.

    Args:
        protocol: linear, probe, knn, finetune, semi, retrieval or robustness
        run: folder of a run that pretrain wrote
        data: the store (default: the run's)
        split: a split of the store (default: the run's)
        recipe: in place of a run, where the encoder is trained: start from random weights, as a recipe has them
        out: folder of the fine-tuned run, seedN within it for several seeds (default: one in RUN/finetune)
        seed: of the protocol's own training, one or several (default: the protocol's)
        encoder: which encoder file of the run, without .safetensors; or teacher or student
        baselines: also score baselines (untrained encoder, training from scratch, raw coordinates)
        overwrite: evaluate again what is there already
        device: auto takes CUDA where there is one
        quiet: show no progress
    """
    from kinemask.protocols.evaluate import evaluate as perform

    return perform(
        protocol,
        run,
        data,
        split,
        recipe=recipe,
        out=out,
        seed=seed,
        encoder=encoder,
        sampling=sampling,
        baselines=baselines,
        overwrite=overwrite,
        device=device,
        quiet=quiet,
        **settings,
    )


def ensemble(
    runs: Sequence[str | Path],
    *,
    weights: Sequence[float] | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    protocol: str | None = None,
    seed: int | Sequence[int] | None = None,
    hash: Sequence[str] = (),
    out: str | Path | None = None,
) -> Results:
    """Fuse the stored class scores of several runs' evaluations (joint + motion + bone, say).

    Writes and returns a result, or one per seed that is named. One evaluation must be left of each run, and all of one
    data set, split and protocol; those of an encoder that a run no longer has count only by their hash. Raises
    ValueError where anything is ambiguous or does not fit.

    Args:
        runs: two or more runs
        weights: one per run (default: all the same)
        data: evaluations on this store, or on the data set of this name
        split: evaluations on this split
        protocol: evaluations of this protocol
        seed: evaluations of this seed; several make several results
        hash: result hashes from file names, one per run
        out: keep the result with this run (default: the first)
    """
    from kinemask.protocols.ensemble import ensemble as run

    return run(runs, weights=weights, data=data, split=split, protocol=protocol, seed=seed, hashes=hash, out=out)


def compare(
    methods: Sequence[str] = (),
    data: str | Path | Sequence[str | Path] = (),
    split: str | Sequence[str] = (),
    protocols: Sequence[str] = (),
    seed: int | Sequence[int] = (0,),
    *,
    ablation: str | None = None,
    sweep: Sequence[str] = (),
    stream: Sequence[Literal["joint", "motion", "bone"]] = (),
    target: str | Path | Sequence[str | Path] = (),
    target_split: str | Sequence[str] = (),
    encoder: Sequence[str] = ("encoder",),
    snapshots: bool = False,
    protocol_seed: int | Sequence[int] | None = None,
    small: bool = False,
    out: str | Path = "runs/compare",
    baselines: bool = True,
    device: Device = "auto",
    cluster: Literal["slurm", "local"] | None = None,
    quiet: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Table:
    """One table of methods × data × protocols × seeds, or a paper's; what is finished is not run again.

    Writes OUT/table.md, .csv and .html, and returns the table's lines; of a sweep and of snapshots also curves as .svg,
    of a paper's table files of its name. settings: by dotted name, of pre-training, of a protocol alone
    (linear.epochs, linear.sampling.test_clips), of one of the methods alone (mamp.pretext.tau), or of submitit
    (slurm.slurm_partition). Failures are listed at the end, by a ValueError; the rest still run. Ctrl-C raises Stopped,
    and the same call resumes.

    Args:
        methods: recipes, or methods: the recipe METHOD-DATA is taken; of an ablation, recipes in place of these
        data: the stores to pre-train on; one may be named several times, with a split each
        split: one for all stores, one for each, or several of one store (of an ablation, by default its own)
        protocols: what to evaluate (default: linear knn; of an ablation, its own)
        ablation: a paper's table, in place of methods, such as hacm-VII; ours and the paper's stand side by side
        sweep: a setting's dotted name and its values, pretext.tau 0.7 0.8; each value is a line and a point of a curve
        stream: pre-train on each of these, and also fuse the scores of several
        target: stores to evaluate on, in place of those of pre-training
        target_split: of the targets, as split
        encoder: encoder files of each run, or teacher and student, which methods with one encoder do not have
        snapshots: evaluate the encoders that runs keep on the way (--training.snapshot-every), and draw a curve
        seed: of pre-training, and of the protocols on that run; one or several
        protocol_seed: seeds of the protocols, all on every run (default: the run's)
        small: for methods, use the small recipes (two CPU cores)
        out: folder of runs, results and table
        baselines: also score baselines
        device: auto takes CUDA where there is one
        cluster: submit a job per run through submitit (--slurm.NAME VALUE for its parameters) and wait
        quiet: show no progress
    """
    from kinemask.comparison.ablation import compare_with_paper
    from kinemask.comparison.compare import compare as run
    from kinemask.comparison.papers import paper_table
    from kinemask.comparison.plan import Asked

    numbers = lambda one: [one] if isinstance(one, int) else one
    texts = lambda one: [str(one)] if isinstance(one, str | Path) else [str(each) for each in one]
    table = None if ablation is None else paper_table(ablation)
    lined = {"sweep": sweep, "stream": stream, "target": target, "snapshots": snapshots}
    lined["encoder"] = tuple(encoder) != ("encoder",)
    if table is not None and (more := [name for name, value in lined.items() if value]):
        raise ValueError(f"compare: {more[0]} makes lines, and those of an ablation are the paper's rows")
    asked = Asked(
        methods=list(methods) or (table.methods if table else []),
        data=texts(data),
        split=texts(split) or (list(table.splits) if table else []),
        protocols=list(protocols) or ([table.protocol] if table else ["linear", "knn"]),
        seeds=numbers(seed),
        protocol_seeds=numbers(protocol_seed),
        small=small,
        baselines=baselines,
        overrides={"training.device": device, **(settings or {})},
        cluster=cluster,
        streams=list(stream),
        sweep=[*(name.replace("-", "_") for name in sweep[:1]), *sweep[1:]],
        encoders=list(encoder),
        snapshots=snapshots,
        targets=texts(target),
        target_split=texts(target_split),
    )
    if ablation is not None:
        return compare_with_paper(ablation, asked, out, quiet)
    return run(asked, out, quiet)


def report(
    runs: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    data: str | Path | None = None,
    *,
    figures: str | Path | None = None,
    classes: Sequence[str] = (),
    clip: str | Sequence[str] = (),
    quiet: bool = True,
) -> Path:
    """Write one HTML page about runs: results, gains, curves, confusion, t-SNE, attention, moving skeletons.

    Returns the page's path. A run without evaluations, checkpoint or store gets a page that says what is lacking. With
    several runs, the page has what the first gains over each of the others. Raises ValueError for a folder that is not
    a run, for `data` that is not a store, for names that the store does not have, and where matplotlib is lacking.

    Args:
        runs: one or several runs
        out: the .html file (default: report.html in the first run's folder)
        data: the store to show clips of (default: each run's own)
        figures: also write the figures as .pdf and .png for a paper into this folder (extra figures)
        classes: show these classes in t-SNE, PCA and confusion (default: all, or those that matter most)
        clip: names of the clips to show, one or several (default: one test clip of each of four classes)
        quiet: print nothing
    """
    from kinemask.reports import report as run

    texts = lambda one: [one] if isinstance(one, str) else list(one)
    say = (lambda line: None) if quiet else lambda line: print(line, file=sys.stderr, flush=True)
    return run(runs, out, data, classes=texts(classes), clips=texts(clip), paper=figures, say=say)
