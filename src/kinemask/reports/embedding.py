"""t-SNE of test clips in an encoder's feature space."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from kinemask.models.encoders import TrainedEncoder
from kinemask.store.opening import Store
from kinemask.windows.parts import Part
from kinemask.windows.sampler import Sampler

MOST_CLIPS = 1500
FEWEST_CLIPS = 10


def embed_test_clips(model: TrainedEncoder, store: Store, split: str) -> tuple[np.ndarray, np.ndarray]:
    """t-SNE of a split's labelled test clips, at most 1500 spread evenly: points (n, 2) and labels (n,).

    Features as the kNN protocol has them: one test view, compared by cosine. The same every time. Raises ValueError
    where there are too few clips.
    """
    from sklearn.manifold import TSNE

    test = store.split(split)[1]
    test = test[store.labels[test] >= 0]
    if len(test) < FEWEST_CLIPS:
        raise ValueError(f"t-SNE needs at least {FEWEST_CLIPS} labelled test clips; split {split} has {len(test)}")
    chosen = test[np.linspace(0, len(test) - 1, min(len(test), MOST_CLIPS)).round().astype(int)]
    device = next(model.parameters()).device
    part = Part(store, chosen, device, model.sampling.missing)
    features = torch.cat(model.test_features(Sampler(part.tracks, model.sampling)))
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(F.normalize(features).cpu().numpy())
    return points, part.labels.cpu().numpy()
