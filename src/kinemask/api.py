"""What the command line does, as short calls: `kinemask.pretrain(...)`, `kinemask.evaluate(...)`.

The commands' parsers are made from these signatures and docstrings. Nothing here imports PyTorch before it is needed.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kinemask.training.settings import Device, Settings

if TYPE_CHECKING:
    from kinemask.comparison.table import Table
    from kinemask.nn.settings import ReadoutSettings
    from kinemask.preparation.prepare import Summary
    from kinemask.recognition.export import Exported
    from kinemask.recognition.output import Features
    from kinemask.recognition.recogniser import Recogniser
    from kinemask.recognition.segments import Segment
    from kinemask.recognition.train import Trained
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
    by_folder: bool = False,
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
        by_folder: label clips by the folder of SRC that they are in, one for each class
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
        by_folder=by_folder,
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


def import_released(
    method: Literal["mae", "mamp", "hacm", "masksem"],
    file: str | Path,
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    split: str = "",
    heads: int | None = None,
) -> Path:
    """Make a run of a checkpoint that a paper's code released: an encoder file, which evaluate and the others read.

    Returns the run's folder. Nothing in the file is run. Sizes and joints follow from the weights. Raises ValueError
    for a file that is absent, damaged or another one, and for a folder that holds another run.

    Args:
        method: whose code it is of; MAMP's also trains MAE
        file: the checkpoint of pre-training, .pth
        out: folder of the run (default: runs/METHOD-FILE)
        data: the store of what it was trained on, which evaluate then takes unless told otherwise
        split: the split of the store that it was trained on
        heads: attention heads, which weights do not tell (default: as the file's own settings say, else 8)
    """
    from kinemask.training.released import import_released as run

    folder = Path("runs") / f"{method}-{Path(file).stem}" if out is None else Path(out)
    return run(method, Path(file), folder, None if data is None else str(data), split, heads)


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


def train(
    data: str | Path,
    out: str | Path = "recogniser",
    *,
    format: str | None = None,
    layout: str | Path | Layout | None = None,
    split: str | None = None,
    encoder: str | Path | None = None,
    pretrain: bool = False,
    finetune: bool = False,
    features: Sequence[Literal["auto", "convolutions", "statistics", "tokens"]] = ("auto",),
    align: Literal["auto", "none", "heading", "pair"] = "auto",
    mirrored: Literal["auto", "yes", "no"] = "auto",
    twins: Literal["auto", "yes", "no"] = "auto",
    spread: Literal["auto", "yes", "no"] = "auto",
    kernels: int = 2000,
    seed: int = 0,
    store: str | Path | None = None,
    min_score: float = 0.0,
    axes: str = "",
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    bodies: int | None = None,
    per_person: bool = False,
    overwrite: bool = False,
    device: Device = "auto",
    quiet: bool = True,
) -> Trained:
    """Train a recogniser of actions on labelled recordings, and say how good it is on people it has not seen.

    Writes OUT/recogniser.safetensors and OUT/report.html. What it looks at is chosen by clips left out, with all clips
    of the same person; every clip is then scored once, by a recogniser that was chosen and fitted without its person.
    The recogniser that is written has learned from all labelled clips. Raises ValueError where no clip has a label,
    there is one class, or the format is not clear; Stopped where the training of an encoder was interrupted.

    Args:
        data: a store, or a folder or file of recordings; labels are clips.csv's, or those of a folder for each class
        out: folder of the recogniser
        format: of the recordings (kinemask datasets), where looking at them does not tell
        layout: the skeleton, where the format leaves a choice: a name (kinemask layouts) or a YAML file
        split: learn from the training part of this split alone, and hold out its test part
        encoder: a run, or an encoder file, whose tokens may stand beside other features
        pretrain: pre-train an encoder first, on clips without a label too: minutes, kept in OUT; resumes
        finetune: fine-tune the encoder on the labelled clips, too, and see on clips left out whether it helps: minutes
        features: auto, or some of convolutions, statistics and tokens, side by side
        align: how clips are turned about the vertical
        mirrored: whether to learn from mirrored copies too
        twins: whether what generated twins differ in counts less: the same motion by several people (3D)
        spread: whether labels are spread to clips without one, from neighbour to neighbour
        kernels: number of random convolutions
        seed: of the random convolutions
        store: keep what was read as a store in this folder
        min_score: treat joints at or below this confidence as missing
        axes: what the axes of your arrays are: T frames, M people, V joints, C coordinates, such as TMVC
        unit: of your 3D coordinates (default: m; a column unit in clips.csv goes first)
        up: the axis of your recordings that points up (default: y in 3D, -y in images)
        bodies: keep this many people of a clip, those most seen
        per_person: make a clip of each person, NAME#1, NAME#2, ...; clips.csv may label them by these names
        overwrite: replace a recogniser that is in OUT
        device: auto takes CUDA where there is one
        quiet: print nothing
    """
    from kinemask.recognition.train import train as run

    yes_or_no: dict[str, str | bool] = {"auto": "auto", "yes": True, "no": False}
    return run(
        data,
        out,
        format=format,
        layout=layout,
        split=split,
        encoder=encoder,
        pretrain=pretrain,
        finetune=finetune,
        features="auto" if list(features) == ["auto"] else list(features),
        align=align,
        mirrored=yes_or_no[mirrored],
        twins=yes_or_no[twins],
        spread=yes_or_no[spread],
        kernels=kernels,
        seed=seed,
        device=device,
        store=store,
        overwrite=overwrite,
        quiet=quiet,
        min_score=min_score,
        axes=axes,
        unit=unit,
        up=up,
        bodies=bodies,
        per_person=per_person,
    )


def predict(
    recogniser: str | Path | Recogniser,
    inputs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    top: int = 1,
    min_confidence: float = 0.0,
    window: float | None = None,
    hop: float | None = None,
    fps: float | None = None,
    per_person: bool = False,
    format: str | None = None,
    layout: str | Path | Layout | None = None,
    min_score: float | None = None,
    axes: str | None = None,
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    bodies: int | None = None,
    device: Device = "auto",
    quiet: bool = True,
) -> list[Segment]:
    """Label recordings, whole or window by window, with a trained recogniser.

    Returns a segment for each clip, or for each stretch of one label; nothing is written but OUT. Files are read as
    those that the recogniser has learned from (unit, axis up, ...), unless told otherwise. Raises ValueError for what
    is no recogniser, and where nothing in the inputs can be read; single recordings that cannot be are warned of.

    Args:
        recogniser: a folder that train wrote
        inputs: stores, folders and files of recordings, of any format that prepare reads
        out: the file to write: .csv, or .jsonl for JSON lines (default: a table on the terminal)
        top: name so many of the most probable classes
        min_confidence: label unsure what is less probable than this
        window: label long recordings by windows of so many seconds, and merge neighbours of one label
        hop: seconds from one window to the next (default: half a window)
        fps: frames a second, where the recordings do not tell
        per_person: label each person by themselves, NAME#1, NAME#2, ...
        format: of the recordings (kinemask datasets), where looking at them does not tell
        layout: the skeleton of the recordings, where it is not the recogniser's and the format leaves a choice
        min_score: treat joints at or below this confidence as missing (default: as in training)
        axes: what the axes of your arrays are (default: as in training)
        unit: of your 3D coordinates (default: as in training)
        up: the axis of your recordings that points up (default: as in training)
        bodies: keep this many people of a clip, those most seen (default: as in training)
        device: auto takes CUDA where there is one
        quiet: do not say how the inputs are read
    """
    from kinemask.recognition.output import check_table, write_segments
    from kinemask.recognition.predict import predict as run

    check_table(out)
    found = run(
        recogniser,
        inputs,
        format=format,
        layout=layout,
        top=top,
        min_confidence=min_confidence,
        window=window,
        hop=hop,
        fps=fps,
        per_person=per_person,
        device=device,
        min_score=min_score,
        axes=axes,
        unit=unit,
        up=up,
        bodies=bodies,
    )
    _tell(found.said, found.failed, quiet)
    if out is not None:
        write_segments(out, found.segments)
    return found.segments


def embed(
    model: str | Path,
    inputs: Sequence[str | Path],
    *,
    out: str | Path = "features.npz",
    readout: ReadoutSettings | None = None,
    format: str | None = None,
    layout: str | Path | Layout | None = None,
    min_score: float | None = None,
    axes: str | None = None,
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    bodies: int | None = None,
    device: Device = "auto",
    quiet: bool = True,
) -> Features:
    """Write the features of recordings, by a recogniser or by a run's encoder, with their names and labels.

    Returns them: names, labels ("" for none) and features (N, D). Raises ValueError for what is neither a recogniser
    nor a run, and where nothing in the inputs can be read; single recordings that cannot be are warned of.

    Args:
        model: a folder that train wrote, a run, or an encoder file
        inputs: stores, folders and files of recordings, of any format that prepare reads
        out: the file to write: .npz (arrays names, labels, features), .csv or .parquet (a line per recording)
        readout: what an encoder's tokens become
        format: of the recordings (kinemask datasets), where looking at them does not tell
        layout: the skeleton of the recordings, where it is not the model's and the format leaves a choice
        min_score: treat joints at or below this confidence as missing
        axes: what the axes of your arrays are: T frames, M people, V joints, C coordinates, such as TMVC
        unit: of your 3D coordinates (default: m, or as in training)
        up: the axis of your recordings that points up
        bodies: keep this many people of a clip, those most seen
        device: auto takes CUDA where there is one
        quiet: do not say how the inputs are read
    """
    from kinemask.recognition.embed import embed as run
    from kinemask.recognition.output import check_features, write_features

    check_features(out)
    found = run(
        model,
        inputs,
        readout=readout,
        format=format,
        layout=layout,
        device=device,
        min_score=min_score,
        axes=axes,
        unit=unit,
        up=up,
        bodies=bodies,
    )
    _tell(found.said, found.failed, quiet)
    write_features(out, found.found)
    return found.found


def live(
    recogniser: str | Path | Recogniser,
    source: str | Path = "-",
    *,
    camera: int | str | None = None,
    estimator: Literal["mediapipe", "ultralytics"] | None = None,
    model: str | Path | None = None,
    window: float | None = None,
    hop: float | None = None,
    fps: float | None = None,
    top: int = 1,
    min_confidence: float = 0.0,
    follow: bool = True,
    layout: str | Path | Layout | None = None,
    min_score: float | None = None,
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    bodies: int | None = None,
    image_width: float | None = None,
    image_height: float | None = None,
    device: Device = "auto",
    quiet: bool = True,
) -> Iterator[Segment]:
    """Label poses while they arrive: JSON lines, a frame each, of standard input or a file that grows; or of a camera.

    A line is {"keypoints": [[x, y, z], ...]} for one person or {"people": [[[x, y, z], ...], ...]}, with "time" in
    seconds if it is known, or such a list alone; null is missing. Yields a segment at every hop at which somebody is
    seen in the window, and one of what is left at the end. Lines that are no frames are left out; raises ValueError for
    too many of them in a row, for other joints than the layout's, for a stream without a frame, and for a camera, an
    estimator or a model that is not there. A camera's poses are found by an estimator that you have installed.

    Args:
        recogniser: a folder that train wrote
        source: a file to follow as it grows, or - for standard input
        camera: in place of a source: a camera's number (0 is the first), a film, or the address of a stream
        estimator: what finds the people in the camera's images; it has to be installed
        model: the estimator's model file, which kinemask does not ship
        window: seconds of frames that are looked at (default: as many frames as the median clip of training)
        hop: seconds from one label to the next (default: half a window)
        fps: frames a second, where the lines have no time
        top: name so many of the most probable classes
        min_confidence: label unsure what is less probable than this
        follow: wait for more where the file ends
        layout: the skeleton of the lines, where it is not the recogniser's; joints are matched by name
        min_score: treat joints at or below this confidence as missing (default: as in training)
        unit: of your 3D coordinates (default: as in training)
        up: the axis of your poses that points up (default: as in training)
        bodies: keep this many people of a window, those most seen (default: as in training)
        image_width: of 2D: the image's width, where coordinates are shares of it
        image_height: of 2D: the image's height, where the recordings learned from told theirs
        device: auto takes CUDA where there is one
        quiet: do not say what looks wrong
    """
    from kinemask.recognition.live import LiveWindow
    from kinemask.recognition.stream import live as run
    from kinemask.recognition.stream import read_lines

    say = (lambda line: None) if quiet else lambda line: print(line, file=sys.stderr, flush=True)
    name = "live" if str(source) == "-" else Path(source).stem
    if camera is None:
        _no_effect({"estimator": estimator, "model": model}, "without a camera")
    else:
        told = {"source": None if str(source) == "-" else source, "follow": None if follow else False}
        _no_effect({**told, "fps": fps, "layout": layout}, "beside a camera")
        from kinemask.recognition.camera import axes_of, is_film, poses_of
        from kinemask.recognition.recogniser import Recogniser

        recogniser = recogniser if isinstance(recogniser, Recogniser) else Recogniser.load(recogniser, device)
        layout, name = poses_of(estimator, recogniser), Path(str(camera)).stem if is_film(camera) else "live"
        own_unit, own_up = axes_of(estimator, recogniser)
        unit, up = unit or own_unit, up or own_up
    held = LiveWindow(
        recogniser,
        window=window,
        hop=hop,
        fps=fps,
        top=top,
        min_confidence=min_confidence,
        layout=layout,
        min_score=min_score,
        unit=unit,
        up=up,
        bodies=bodies,
        image_width=image_width,
        image_height=image_height,
        device=device,
        name=name,
        say=say,
    )
    say(f"waiting for poses of {held.layout.name}: {held.layout.num_joints} joints, {held.layout.dims}D")
    if camera is None:
        return run(held, read_lines(source, follow, say), say)
    from kinemask.recognition.camera import Camera

    seen = Camera(camera, estimator, model, held.layout.name, held.recogniser.model_.window.bodies)
    return run(held, seen.frames(), say, "frame")


def _no_effect(given: Mapping[str, Any], where: str) -> None:
    """ValueError for the first option that is given though it means nothing here."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} has no effect {where}")


def _tell(said: Sequence[str], failed: Sequence[str], quiet: bool) -> None:
    """Say how inputs were read, and warn of what could not be."""
    for line in () if quiet else said:
        print(line, file=sys.stderr)
    for line in failed:
        if quiet:
            warnings.warn(line, stacklevel=3)
        else:
            print(f"not read: {line}", file=sys.stderr)


def view(
    source: str | Path,
    *,
    clip: str | Sequence[str] = (),
    save: str | Path | None = None,
    open: bool = False,
    format: str | None = None,
    layout: str | Path | Layout | None = None,
    axes: str = "",
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    fps: float | None = None,
) -> Path:
    """Show clips of a store or of recordings as moving skeletons, side by side.

    Writes a page that needs nothing else, or a film, and returns its path. Raises ValueError for clips that are not
    there, for recordings that cannot be read, and where a film cannot be made, saying what is lacking.

    Args:
        source: a store, or a file or folder of recordings
        clip: names of clips, one or several (default: four, of a store's labelled clips of four classes)
        save: the file to write: .html, .gif or .mp4 (default: NAME-view.html in this folder)
        open: show it in the browser
        format: of recordings: a name that kinemask datasets lists, where looking at them does not tell
        layout: of recordings: the skeleton, where the format leaves a choice: a name, or a YAML file
        axes: of recordings: what the axes of your arrays are: T frames, M people, V joints, C coordinates
        unit: of recordings: of 3D coordinates (default: m)
        up: of recordings: the axis that points up (default: y in 3D, -y in images)
        fps: frames a second (default: what the clips say, or else 30)
    """
    from kinemask.viewing import view as run

    options = {"layout": layout, "axes": axes, "unit": unit, "up": up}
    given = {name: value for name, value in options.items() if value}
    out = run(source, [clip] if isinstance(clip, str) else clip, save, format=format, fps=fps, options=given)
    if open:
        import webbrowser

        if not webbrowser.open(out.resolve().as_uri()):
            raise ValueError(f"{out} is written, but no browser could be started here")
    return out


def export(source: str | Path, out: str | Path, *, data: str | Path | None = None, quantize: bool = False) -> Exported:
    """Write a recogniser or an encoder with everything inside, from raw keypoints to probabilities or features.

    The model takes keypoints (1, M, T, V, C) of any number of people M and frames T, in a store's units and axes, NaN
    where missing: it moves, fills, turns and resamples them itself. It is run on clips before it is written. Returns
    how it compares with PyTorch; raises ValueError for what is neither a recogniser nor an encoder, for an encoder with
    random test windows, and for packages that are not there; FloatingPointError where the outputs differ from
    PyTorch's by more than 1e-4.

    Args:
        source: a recogniser's folder or file; or a run, or an encoder file
        out: the file to write: .onnx (onnxruntime, browsers), .pt2 (torch.export), or .html: a page with a recogniser
            in it, which shows the skeleton and the label of a pose file
        data: a store on whose clips the outputs are compared, and the accuracy is told (default: made-up clips)
        quantize: weights of eight bits: a smaller file that is a little less exact, and says how much
    """
    from kinemask.recognition.export import export as run

    return run(source, out, data, quantize)
