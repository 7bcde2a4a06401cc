"""`Recogniser`: a scikit-learn estimator from recordings to labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.exceptions import NotFittedError
from torch import Tensor

from kinemask.models.encoders import hide_folders
from kinemask.models.hub import here_or_fetched, push
from kinemask.nn.random_convolutions import KERNELS
from kinemask.nn.settings import ReadoutSettings
from kinemask.recognition.arrays import as_recordings, find_layout, store_recordings
from kinemask.recognition.bank import Bank
from kinemask.recognition.card import write_recogniser_card
from kinemask.recognition.choice import FILE, Asked, asked
from kinemask.recognition.files import Saved, read_recogniser, write_recogniser
from kinemask.recognition.fitting import FineTuning, Tried, fit
from kinemask.recognition.labels import GROUPS, drawn
from kinemask.recognition.model import ClipModel
from kinemask.recognition.tokens import READOUT, read_encoder
from kinemask.skeleton import Layout
from kinemask.store.opening import Store
from kinemask.training.distributed import choose_device
from kinemask.training.settings import Device
from kinemask.windows.tracks import Recordings

Clips = Store | Sequence[np.ndarray] | np.ndarray


class Recogniser(ClassifierMixin, TransformerMixin, BaseEstimator):
    """Recognises actions in recordings: random convolutions, an encoder's tokens or statistics, and ridge on top.

    X is a store or a sequence of arrays (T, V, C) or (M, T, V, C) of any lengths, in a store's convention (metres, y
    up; NaN = missing). Arrays may lie anywhere: each is moved so that its first body's root begins at the origin.

    Args:
        layout: the skeleton of arrays: a name, a YAML file, or a Layout; a store brings its own
        features: auto, or some of convolutions, statistics, tokens (of the encoder), side by side
        align: auto, or how clips are turned about the vertical: none, heading, pair
        mirrored: auto, or whether to learn from mirrored copies too
        twins: auto, or whether what generated twins differ in counts less (3D)
        spread: auto, or whether labels are spread to recordings without one, between neighbours
        encoder: a run, or an encoder file, whose tokens are used
        readout: what tokens become a clip's features (default: joints over halves of time, mean and maximum)
        kernels: number of random convolutions
        seed: of the random convolutions
        device: auto takes CUDA where there is one

    Attributes, once fitted: classes_ (the labels, in the order of probabilities), layout_, choice_ (what it looks at),
    tried_ (the candidates with their accuracy on clips left out), model_ (a torch module).
    """

    classes_: np.ndarray
    layout_: Layout
    model_: ClipModel
    tried_: tuple[Tried, ...]
    lengths_: tuple[int, int, int]
    record_: dict[str, Any]
    n_features_out_: int

    def __init__(
        self,
        layout: str | Path | Layout | None = None,
        *,
        features: str | Sequence[str] = "auto",
        align: Literal["auto", "none", "heading", "pair"] = "auto",
        mirrored: Literal["auto"] | bool = "auto",
        twins: Literal["auto"] | bool = "auto",
        spread: Literal["auto"] | bool = "auto",
        encoder: str | Path | None = None,
        readout: ReadoutSettings | None = None,
        kernels: int = KERNELS,
        seed: int = 0,
        device: Device = "auto",
    ):
        self.layout = layout
        self.features = features
        self.align = align
        self.mirrored = mirrored
        self.twins = twins
        self.spread = spread
        self.encoder = encoder
        self.readout = readout
        self.kernels = kernels
        self.seed = seed
        self.device = device

    def fit(self, X: Clips, y: Any = None, groups: Any = None) -> Recogniser:
        """Learn from labelled clips.

        y: their labels (N,), texts or whole numbers, None where there is none; a store's own by default. Labels are
        spread to clips without one as `spread` says, to MOST_UNLABELLED of them at most. groups: (N,) values, people
        say, that clips left out for a choice share with none that stay; a store's columns subject, camera and setup by
        default. Raises ValueError for what cannot be learned from: one class, clips in which nobody is seen, shapes
        that are not the layout's.
        """
        source, present, labels, own = self._labelled(X, y, groups)
        classes, numbers = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"there is only one class, {str(classes[0])!r}; a recogniser needs two or more")
        known = {name: values for name, values in own.items() if name == "groups" or all(values[present])}
        others = drawn(np.flatnonzero(~present)) if self.asked().spread is not False else np.arange(0)
        clips = np.concatenate([np.flatnonzero(present), others])
        numbers = np.concatenate([numbers, np.full(len(others), -1)])
        bank = self.make_bank(source, clips, numbers, {name: values[clips] for name, values in known.items()})
        return self.fit_bank(bank, classes, source.lengths[present])

    def predict_proba(self, X: Clips) -> np.ndarray:
        """Probabilities (N, classes) of the classes, in the order of classes_."""
        return self._fitted().predict(self._recordings(X)).cpu().numpy()

    def predict(self, X: Clips) -> np.ndarray:
        """The most probable label of each clip: (N,)."""
        found = self.predict_proba(X).argmax(1)
        return self.classes_[found]

    def transform(self, X: Clips) -> np.ndarray:
        """Features (N, D) that the classifier sees."""
        return self._fitted().transform(self._recordings(X)).cpu().numpy()

    def score(self, X: Clips, y: Any = None, sample_weight: Any = None) -> float:
        """Share of clips whose label is predicted; y: a store's own labels by default."""
        if y is None and isinstance(X, Store):
            chosen = np.flatnonzero(X.labels >= 0)
            X, y = [X.clip(int(i)) for i in chosen], np.array(X.classes)[X.labels[chosen]]
        return super().score(X, y, sample_weight)

    @property
    def choice_(self) -> Any:
        return self._fitted().choice

    def save(self, path: str | Path) -> Path:
        """Write a file, or recogniser.safetensors in a folder that is there; returns its path."""
        model = self._fitted()
        return write_recogniser(path, Saved(model, self.classes_.tolist(), self.lengths_, self.record_))

    @classmethod
    def load(cls, path: str | Path, device: Device = "auto") -> Recogniser:
        """A recogniser from the file, or the folder, that `save` or `kinemask train` wrote; never runs code.

        Raises ValueError for a file that is absent, damaged, or none of kinemask's recognisers.
        """
        saved = read_recogniser(path, choose_device(device))
        model = saved.model
        made = cls(
            model.layout,
            features=model.choice.features,
            align=model.choice.align,
            mirrored=model.choice.mirrored,
            twins=model.choice.twins,
            device=device,
        )
        made.layout_, made.model_, made.classes_ = model.layout, model, np.array(saved.classes)
        made.tried_, made.lengths_, made.record_ = (), saved.lengths, saved.record
        made.n_features_out_ = model.width
        return made

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        license: str | None = None,
        card: bool = True,
        message: str = "A recogniser of kinemask",
        token: str | None = None,
    ) -> str:
        """Share it on the Hugging Face Hub (extra `hub`): the file, and a card that says what it is and how good.

        repo_id: OWNER/NAME, made where it is not there. private: None leaves it to the owner's settings. revision: a
        branch. license: of these weights, as the Hub names it (cc-by-4.0, say); the card has none without it. card:
        write README.md anew; False leaves one that you have edited. token: where you are not logged in. Returns the
        commit's address; raises ValueError for what is no repository, and where huggingface_hub is absent.
        """
        self._fitted()

        def write(folder: Path) -> None:
            hide_folders(self.save(folder))
            if card:
                write_recogniser_card(folder, self, repo_id, license)

        return push(write, repo_id, private=private, revision=revision, message=message, token=token)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        device: Device = "auto",
    ) -> Recogniser:
        """A recogniser from a folder or file that is here, or from a repository OWNER/NAME on the Hub (extra `hub`).

        revision: a branch, tag or commit of the repository. Only its recogniser.safetensors is downloaded, and kept in
        the Hub's cache. Raises ValueError as `load`, and for a repository or revision that cannot be had; OSError where
        the Hub is not reached.
        """
        return cls.load(here_or_fetched(source, FILE, revision, token), device)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.classifier_tags.poor_score = True
        return tags

    # what fit is made of

    def make_bank(
        self, source: Store | Recordings, clips: np.ndarray, labels: np.ndarray, groups: dict[str, Any]
    ) -> Bank:
        """Clips to fit on, which `fit_bank` takes: labels are numbers of classes, −1 for none, which come last; groups
        are values by name; all (n,)."""
        device = choose_device(self.device)
        numbers = {name: _numbered(values) for name, values in groups.items()}
        encoder = None
        if self.encoder is not None:
            encoder = read_encoder(self.encoder, self.readout or READOUT, device, source.layout)
        elif self.readout is not None:
            raise ValueError("a readout is an encoder's: give an encoder too")
        if isinstance(source, Store):
            source, clips = store_recordings(source, clips), np.arange(len(clips))
        return Bank(source, clips, torch.from_numpy(labels), numbers, self.seed, encoder, device)

    def fit_bank(
        self, bank: Bank, classes: np.ndarray, lengths: np.ndarray, tuning: FineTuning | None = None
    ) -> Recogniser:
        """As `fit`, on clips that `make_bank` made. classes: their labels; lengths: the clips' frames."""
        self.model_, chosen = fit(bank, len(classes), self.asked(), tuning)
        self.layout_, self.classes_, self.tried_, self.record_ = bank.layout, classes, chosen.tried, {}
        self.lengths_ = int(lengths.min()), int(np.median(lengths)), int(lengths.max())
        self.n_features_out_ = self.model_.width
        return self

    def asked(self) -> Asked:
        """What the parameters settle; ValueError for one that is none."""
        has_encoder = self.encoder is not None
        return asked(self.features, self.align, self.mirrored, self.kernels, has_encoder, self.twins, self.spread)

    def _labelled(
        self, X: Clips, y: Any, groups: Any
    ) -> tuple[Store | Recordings, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """The clips, which have a label (N,) bool, these labels, and groupings by name, each of all clips."""
        if isinstance(X, Store):
            named = np.array([*X.classes, None], object)[X.labels]  # the last for −1
            given = named if y is None else np.asarray(y, object)
            source: Store | Recordings = X
            own = {name: X.fields[name] for name in GROUPS if name in X.fields}
        else:
            if y is None:
                raise ValueError("requires y to be passed, but the target y is None: a label for each recording")
            source, given, own = as_recordings(X, find_layout(self.layout, X)), np.asarray(y, object), {}
        if given.shape != (len(source),):
            raise ValueError(f"y has shape {given.shape}; expected a label for each of the {len(source)} recordings")
        present = np.array([not _missing(one) for one in given.tolist()])
        if not present.any():
            raise ValueError("no recording has a label")
        labels = np.asarray(given[present].tolist())
        if labels.dtype.kind not in "OUSiub":
            raise ValueError(f"Unknown label type: y is {labels.dtype}; labels are texts or whole numbers")
        if groups is not None:
            own = {"groups": np.asarray(groups)}
            if own["groups"].shape != (len(source),):
                raise ValueError(
                    f"groups have shape {own['groups'].shape}; expected a value for each of the {len(source)} "
                    "recordings"
                )
        return source, present, labels, own

    def _fitted(self) -> ClipModel:
        if not hasattr(self, "model_"):
            raise NotFittedError("this Recogniser is not fitted yet; call fit, or Recogniser.load")
        return self.model_

    def _recordings(self, X: Clips) -> Recordings:
        if isinstance(X, Store):
            if X.layout != self._fitted().layout:
                raise ValueError(f"the recogniser is of layout {self.layout_.name}, the store of {X.layout.name}")
            return store_recordings(X, np.arange(len(X)))
        return as_recordings(X, self._fitted().layout)


def _missing(label: Any) -> bool:
    """Whether a label is none: None, NaN, or pandas' NA."""
    return label is None or (isinstance(label, float) and math.isnan(label)) or type(label).__name__ == "NAType"


def _numbered(values: np.ndarray) -> Tensor:
    """Numbers of values, whatever these are: (n,)."""
    numbers: dict[Any, int] = {}
    return torch.tensor([numbers.setdefault(value, len(numbers)) for value in values.tolist()])
