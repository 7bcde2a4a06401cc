"""What the command line does, as short calls: `kinemask.pretrain(...)`, `kinemask.evaluate(...)`.

The commands' parsers are made from these signatures and docstrings. Nothing here imports PyTorch before it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kinemask.training.settings import Device, Settings

if TYPE_CHECKING:
    from kinemask.comparison.table import Line
    from kinemask.preparation.prepare import Summary
    from kinemask.runs.result import Results
    from kinemask.skeleton import Layout
    from kinemask.store.opening import Store


def prepare(
    dataset: str,
    src: str | Path,
    store: str | Path,
    *,
    layout: str | Path | Layout | None = None,
    exclude: str | Path | None = None,
    strict: bool = False,
    workers: int | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    overwrite: bool = False,
    split_rule: str | Sequence[str] = (),
    min_score: float = 0.0,
    axes: str = "",
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    bodies: int | None = None,
    per_person: bool = False,
    name: str | None = None,
    progress: bool = True,
) -> Summary:
    """Convert a data set or your recordings into a store.

    Returns a summary with counts and warnings. Raises ValueError for bad arguments and, if strict, for a bad file;
    OSError where the store cannot be written. Then, as after Ctrl-C, nothing half-written remains and a store that was
    there is untouched.

    Args:
        dataset: which data set SRC holds, or the format of its files (kinemask datasets)
        src: the folder (or file) in the original layout; a file may take 2 GB of memory, or KINEMASK_FILE_GB
        store: the folder to write
        layout: the skeleton, where the data set leaves a choice: a name (kinemask layouts) or a YAML file
        exclude: text file of clips to leave out, one name per line
        strict: stop at the first bad file; otherwise bad files go to rejected.csv
        workers: processes that read (default: one per core)
        dtype: of the stored coordinates
        overwrite: replace the store if it exists
        split_rule: a further split, NAME:COLUMN=a,b: clips whose COLUMN is a or b are for testing; one or several
        min_score: treat joints at or below this confidence as missing
        axes: what the axes of your arrays are: T frames, M people, V joints, C coordinates, such as TMVC
        unit: of your 3D coordinates (default: m; a column unit in clips.csv goes first)
        up: the axis of your recordings that points up (default: y in 3D, -y in images)
        bodies: keep this many people of a clip, those most seen
        per_person: make a clip of each person, NAME#1, NAME#2, ...; clips.csv may label them by these names
        name: the data set's name in results (default: DATASET's; for a file format, STORE's)
        progress: show progress
    """
    from kinemask.preparation.prepare import prepare as run

    return run(
        dataset,
        src,
        store,
        layout=layout,
        exclude=exclude,
        strict=strict,
        workers=workers,
        dtype=dtype,
        overwrite=overwrite,
        split_rules=[split_rule] if isinstance(split_rule, str) else split_rule,
        min_score=min_score,
        axes=axes,
        unit=unit,
        up=up,
        bodies=bodies,
        per_person=per_person,
        name=name,
        progress=progress,
    )


def info(store: str | Path | Store) -> dict[str, Any]:
    """What a store holds, and what looks wrong: classes, people, lengths, missing joints, units, motion, duplicates.

    A dict that JSON can carry; its `doubts` are sentences. Also checks that the store's arrays are as written.

    Args:
        store: the store
    """
    from kinemask.preparation.info import info as run

    return run(store)


def default_run(settings: Settings, recipe: str) -> Path:
    """The folder of a run that was given none: runs/RECIPE-STORE-SPLIT-seedN."""
    stores = "+".join(Path(store).name for store in settings.data)
    return Path("runs") / f"{Path(recipe).stem}-{stores}-{settings.split}-seed{settings.seed}"


def pretrain(
    recipe: str,
    data: str | Path | Sequence[str | Path],
    split: str,
    out: str | Path | None = None,
    *,
    quiet: bool = False,
    **settings: Any,
) -> Path:
    """Pre-train a recipe on the training part of a split.

    Returns the run's folder. A stopped run resumes. settings: any setting by its dotted name, e.g.
    `**{"training.epochs": 50, "seed": 1}`. Raises ValueError for unknown settings and for those that do not fit the
    store or the run, FloatingPointError (naming the batch's clips) when the loss is not finite, and Stopped.

    Args:
        recipe: a recipe's name (kinemask recipes), or a .yaml file
        data: the store to learn from, or several
        split: a split of the store; its training part is used. all: every clip
        out: folder of the run (default: runs/RECIPE-STORE-SPLIT-seedN)
        quiet: show no progress
    """
    stores = [data] if isinstance(data, str | Path) else data
    chosen = Settings.from_recipe(recipe, {**settings, "data": [str(store) for store in stores], "split": split})
    from kinemask.training.pretraining import pretrain as run

    return run(chosen, default_run(chosen, recipe) if out is None else out, quiet)


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
        protocol: linear, knn, finetune, semi, retrieval or robustness
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
    methods: Sequence[str],
    data: str | Path | Sequence[str | Path],
    split: str | Sequence[str],
    protocols: Sequence[str] = ("linear", "knn"),
    seed: int | Sequence[int] = (0,),
    *,
    protocol_seed: int | Sequence[int] | None = None,
    small: bool = False,
    out: str | Path = "runs/compare",
    baselines: bool = True,
    device: Device = "auto",
    cluster: Literal["slurm", "local"] | None = None,
    quiet: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> list[Line]:
    """One table of methods × data × protocols × seeds; what is finished is not run again.

    Writes OUT/table.md, .csv and .html, and returns the table's lines. settings: by dotted name, of pre-training, of a
    protocol alone (linear.epochs), of one of the methods alone (mamp.pretext.tau), or of submitit
    (slurm.slurm_partition). Failures are listed at the end, by a ValueError; the rest still run.

    Args:
        methods: recipes, or methods: the recipe METHOD-DATA is taken
        data: the stores
        split: one for all stores, one for each, or several of one store
        protocols: what to evaluate
        seed: of pre-training, and of the protocols on that run; one or several
        protocol_seed: seeds of the protocols, all on every run (default: the run's)
        small: for methods, use the small recipes (two CPU cores)
        out: folder of runs, results and table
        baselines: also score baselines
        device: auto takes CUDA where there is one
        cluster: submit a job per run through submitit (--slurm.NAME VALUE for its parameters) and wait
        quiet: show no progress
    """
    from kinemask.comparison.compare import compare as run

    numbers = lambda one: [one] if isinstance(one, int) else one
    return run(
        methods,
        data,
        split,
        protocols,
        numbers(seed),
        protocol_seeds=numbers(protocol_seed),
        small=small,
        out=out,
        baselines=baselines,
        device=device,
        cluster=cluster,
        quiet=quiet,
        settings=settings,
    )


def report(
    runs: str | Path | Sequence[str | Path], out: str | Path | None = None, data: str | Path | None = None
) -> Path:
    """Write one HTML page about runs: results, curves, confusion, t-SNE, moving skeletons.

    Returns the page's path. A run without evaluations, checkpoint or store gets a page that says what is lacking.
    Raises ValueError for a folder that is not a run, and for `data` that is not a store.

    Args:
        runs: one or several runs
        out: the .html file (default: report.html in the first run's folder)
        data: the store to show clips of (default: each run's own)
    """
    from kinemask.reports import report as run

    return run(runs, out, data)
