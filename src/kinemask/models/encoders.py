"""Encoders on disk: weights in safetensors, with the settings that rebuild them in the file's metadata."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from kinemask.budget import check_holes
from kinemask.errors import shorten
from kinemask.files import write_atomically
from kinemask.models.architectures import architecture
from kinemask.models.card import write_encoder_card
from kinemask.models.hub import here_or_fetched, push
from kinemask.models.metadata import check_metadata, check_size
from kinemask.nn.encoder import Encoder
from kinemask.nn.readouts import Readout, mean_of_tokens
from kinemask.plain_file import parse_json
from kinemask.skeleton import Layout
from kinemask.skeleton import layout as find_layout
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Recordings, Tracks

FORMAT = 2
FILE = "encoder.safetensors"  # in a run, and in a repository
_SHIPPED = Path(__file__).parents[1] / "encoders"

T = TypeVar("T")


class TrainedEncoder(nn.Module):
    """An encoder with what it needs to be used: sampling and readout, and the record of how it was trained.

    record: plain values (`runs.result.Trained`).
    """

    def __init__(
        self,
        encoder: Encoder,
        sampling: SamplingSettings,
        record: dict[str, Any],
        readout: Readout = mean_of_tokens,
    ):
        super().__init__()
        self.encoder, self.sampling, self.record, self.readout = encoder, sampling, record, readout

    @property
    def layout(self) -> Layout:
        return self.encoder.layout

    def clip_features(self, x: Tensor, clip_index: Tensor, clips: int) -> Tensor:
        """Sampled bodies (B, T, V, C) of N clips, clip_index (B,) of each body -> (N, D)."""
        return self.readout(self.encoder(x), clip_index, clips, x)

    @torch.no_grad()
    def encode(self, x: Tensor | np.ndarray | Sequence[np.ndarray], batch_size: int = 64) -> Tensor:
        """Features of recordings, averaged over segments, joints and bodies: (N, D).

        x: (N, T', V, C) or (N, M, T', V, C), or a sequence of N arrays (T', V, C) or (M, T', V, C) of any lengths, in a
        store's convention (metres, y up, origin at the root joint of the first frame; NaN = missing). They are filled,
        resampled to the model's window and turned into its stream.
        """
        sampler = sampler_of(x, self.layout, self.sampling, next(self.parameters()).device)
        return torch.cat(self.eval().test_features(sampler, batch_size))

    @torch.no_grad()
    def test_features(self, sampler: Sampler, batch_size: int = 64, clip: int = 0) -> list[Tensor]:
        """Features of every clip of a sampler's tracks, test view number `clip`: batches of (N, D)."""
        out = []
        for positions in torch.arange(len(sampler.tracks.clips), device=sampler.tracks.device).split(batch_size):
            track, clip_index = sampler.tracks.of_clips(positions)
            out.append(self.clip_features(sampler.test_view(track, clip), clip_index, len(positions)))
        return out

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        license: str | None = None,
        card: bool = True,
        message: str = "An encoder of kinemask",
        token: str | None = None,
    ) -> str:
        """Share it on the Hugging Face Hub (extra `hub`), as `Recogniser.push_to_hub` does; the commit's address."""

        def write(folder: Path) -> None:
            save_encoder(folder / FILE, self.encoder, self.sampling, self.record)
            hide_folders(folder / FILE)
            if card:
                write_encoder_card(folder, self, repo_id, license)

        return push(write, repo_id, private=private, revision=revision, message=message, token=token)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        device: str | torch.device = "cpu",
    ) -> TrainedEncoder:
        """An encoder from a run or a file that is here, of the package by its name, or from a repository OWNER/NAME.

        Repositories are on the Hub (extra `hub`). revision: a branch, tag or commit of one. Only its
        encoder.safetensors is downloaded, and kept in the Hub's cache. Raises ValueError as `load_encoder`, and for a
        repository or revision that cannot be had; OSError where the Hub is not reached.
        """
        if revision is None and not Path(source).exists() and str(source) in encoders():
            return load_encoder(source, device)
        return load_encoder(here_or_fetched(source, FILE, revision, token), device)


def sampler_of(
    x: Tensor | np.ndarray | Sequence[np.ndarray], layout: Layout, sampling: SamplingSettings, device: torch.device
) -> Sampler:
    """A sampler of recordings (T', V, C) or (M, T', V, C) in memory."""
    arrays = [np.asarray(a.detach().cpu() if isinstance(a, Tensor) else a, np.float32) for a in x]
    return Sampler(Tracks(Recordings.of(layout, arrays), None, device, sampling.missing), sampling)


def save_encoder(path: Path, encoder: Encoder, sampling: SamplingSettings, record: dict[str, Any]) -> None:
    """Write an encoder's weights, and in the metadata what rebuilds it."""
    write_weights(path, encoder, describe(encoder, sampling, record))


def describe(encoder: Encoder, sampling: SamplingSettings, record: dict[str, Any]) -> dict[str, Any]:
    """The metadata that rebuilds an encoder."""
    return {
        "architecture": encoder.architecture,
        "layout": encoder.layout.to_dict(),
        "encoder": asdict(encoder.settings),
        "sampling": asdict(sampling),
        "record": record,
    }


def write_weights(path: Path, module: nn.Module, about: dict[str, Any]) -> None:
    """Write a module's weights as safetensors, with `about` in the metadata. Raises FloatingPointError for NaN."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    if bad := not_finite(tensors):
        raise FloatingPointError(f"weight {bad} is not finite, so {path} is not written")
    text = json.dumps({"format": FORMAT, **about})
    write_atomically(path, lambda p: p.write_bytes(save(tensors, {"kinemask": text})))


def read_weights(path: Path, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and weights of a file of `write_weights`; ValueError for any other file. what: "an encoder"."""
    about, weights = read_tensors(path, what)
    try:
        version = about["format"]
        if version == 1:
            about = _from_format_1(about)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(shorten(f"{path} is not {what} that kinemask wrote: {error}")) from None
    if version not in (1, FORMAT):
        raise ValueError(shorten(f"{path} has format {version}; this version reads 1 and {FORMAT}"))
    try:
        check_metadata(about)
    except ValueError as error:
        raise ValueError(shorten(f"{path}: {error}")) from None
    return about, weights


def read_tensors(path: Path, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What kinemask wrote into a safetensors file's metadata, and its tensors, finite; ValueError for another file."""
    try:
        check_holes(path)
        with safe_open(path, "pt") as f:
            about = parse_json((f.metadata() or {})["kinemask"], "its metadata")
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
        if not isinstance(about, dict):
            raise TypeError("its metadata is no mapping")
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(shorten(f"{path} is not {what} that kinemask wrote: {error}")) from None
    if bad := not_finite(tensors):
        raise ValueError(f"{path}: its weight {bad} is not finite, so it is of no use; train again")
    return about, tensors


_PATHS = ("data", "init_from")  # settings that are paths


def hide_folders(path: Path) -> None:
    """Write a file of weights anew without the folders of the machine that made it: of a path its name stays."""
    about, tensors = read_tensors(path, "a file of weights")
    if (told := _without_folders(about)) != about:
        write_atomically(path, lambda p: p.write_bytes(save(tensors, {"kinemask": json.dumps(told)})))


def _without_folders(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _without_folders(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one, key) for one in value]
    return Path(value.replace("\\", "/")).name if key in _PATHS and isinstance(value, str) else value


def not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """The name of a weight that is not finite throughout, if there is one."""
    return next((name for name, value in weights.items() if not value.isfinite().all()), None)


def _from_format_1(about: dict[str, Any]) -> dict[str, Any]:
    """Metadata of kinemask 0.1, which named the method where an architecture is named now."""
    about = dict(about)
    method = about.pop("method")
    about["architecture"] = "graph" if "kind" in about["encoder"] else "transformer"
    about["record"] = _record_of_format_1(about["record"], method)
    if "head" in about:
        about["head"] = {"kind": "strl" if "layers" in about["head"] else "mlp"} | about["head"]
    return about | {"format": FORMAT}


def _record_of_format_1(record: dict[str, Any], method: str) -> dict[str, Any]:
    new = {k: record[k] for k in ("settings", "steps", "epochs")} | {"method": method}
    new |= {"sources": [{k: record["data"][k] for k in ("dataset", "sha256")}], "split": record["data"]["split"]}
    before = record.get("pretraining")
    return new | {"pretraining": before and _record_of_format_1(before, method)}


@contextmanager
def rebuilding(path: Path) -> Iterator[None]:
    """Has mistakes in a file's own settings and weights say which file it was. Random numbers are given back."""
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(shorten(f"{path}: its settings cannot be used: {error}")) from None
    except RuntimeError as error:
        raise ValueError(shorten(f"{path}: its weights do not fit its own settings: {error}")) from None


def encoders() -> tuple[str, ...]:
    """Names of the encoders that come with the package; wherever an encoder file is asked for, a name does."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.safetensors")))


def load_encoder(
    path: str | Path, device: str | torch.device = "cpu", layout: Layout | str | None = None
) -> TrainedEncoder:
    """An encoder file, a run's folder or one of `encoders()` -> a module with `encode(x) -> (N, D)`, in eval mode.

    layout: of the recordings to encode, where it is not the one that the encoder was trained on; those with
    encoder.positions named read any. Raises ValueError for a file that is absent, damaged, not an encoder of kinemask
    or of another format, and where it does not read the layout.
    """
    given, path = path, find(Path(path), "encoder")
    about, weights = read_weights(path, "an encoder")
    with rebuilding(path):
        check_size(lambda: build_encoder(about).encoder, weights)
        model = build_encoder(about)
        model.encoder.load_state_dict(weights)
    if layout is not None:
        own = layout if isinstance(layout, Layout) else find_layout(layout)
        model = placed(model, own, given, "what it is to encode")
    return model.to(device).eval()


def placed(model: TrainedEncoder, layout: Layout, source: Path | str, whose: str) -> TrainedEncoder:
    """The encoder for a layout: itself, or, where its positions follow from joints' names, moved there.

    Raises ValueError, which says where it comes from and whose layout this is, where it knows its own layout alone.
    """
    own = model.layout
    if own.to_dict() == layout.to_dict():
        return model
    if not model.encoder.knows(layout):
        planes = f", of {layout.dims} coordinates in place of {own.dims}" if layout.dims != own.dims else ""
        raise ValueError(
            f"{source} was trained on layout {own.name} ({own.num_joints} joints), "
            f"but {whose} has layout {layout.name} ({layout.num_joints} joints){planes}"
        )
    moved, _ = model.encoder.transfer(layout, model.encoder.frames)
    return TrainedEncoder(moved.eval(), model.sampling, model.record, model.readout)


def find(path: Path, kind: str) -> Path:
    """The file itself, KIND.safetensors in a run's folder, or an encoder of the package by its name.

    Raises ValueError where there is none.
    """
    path = path / f"{kind}.safetensors" if path.is_dir() else path
    if path.is_file():
        return path
    if kind == "encoder" and str(path) in encoders():
        return _SHIPPED / f"{path}.safetensors"
    if (path.parent / "config.yaml").is_file() and not (path.parent / "encoder.safetensors").is_file():
        raise ValueError(f"no {kind} at {path}: this run has not finished training; re-run its command to resume")
    known = f", or a name: {', '.join(encoders())}" if kind == "encoder" and encoders() else ""
    raise ValueError(f"no {kind} at {path}; expected a run's folder or a file {kind}.safetensors of one{known}")


def build_encoder(about: dict[str, Any]) -> TrainedEncoder:
    """A freshly initialised encoder from the metadata of an encoder file."""
    chosen = architecture(about["architecture"])
    sampling = settings_of(SamplingSettings, about["sampling"])
    settings = settings_of(chosen.settings, about["encoder"])
    encoder = chosen.build(Layout.from_dict(about["layout"]), sampling.frames, settings)
    return TrainedEncoder(encoder, sampling, about["record"])


def settings_of(kind: type[T], values: dict[str, Any]) -> T:
    """Settings from a file's plain values, whose types are checked; ValueError or TypeError for wrong ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once, below
        msgspec.convert(values, kind)
    return kind(**values)
