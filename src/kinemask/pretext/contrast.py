"""Contrastive losses: HA-CM's between the encoded halves of a clip and their whole, and NT-Xent of two views."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch import distributed as dist

from kinemask.pretext.settings import Negatives, Reduction, Similarity


def cross_contrast(
    odd: Tensor,
    even: Tensor,
    whole: Tensor,
    similarity: Similarity,
    reduction: Reduction,
    negatives: Negatives,
) -> Tensor:
    """Sum of the squared differences between three similarity matrices and the identity. HA-CM Eq. 25-27.

    odd, even, whole (B, D): pooled encodings. With gathered negatives each process compares its own rows with all
    rows of the batch; the mean over processes is then the loss of one process with the whole batch.
    """
    pairs = ((odd, whole), (even, whole), (even, odd))
    with torch.autocast(odd.device.type, enabled=False):
        return torch.stack(
            [_to_identity(a.float(), b.float(), similarity, reduction, negatives) for a, b in pairs]
        ).sum()


def _to_identity(a: Tensor, b: Tensor, similarity: Similarity, reduction: Reduction, negatives: Negatives) -> Tensor:
    first, processes = 0, 1
    if negatives == "gathered" and dist.is_available() and dist.is_initialized():
        from torch.distributed.nn.functional import all_gather  # absent from builds without torch.distributed

        first, processes = dist.get_rank() * len(b), dist.get_world_size()
        b = torch.cat(list(all_gather(b, dist.group.WORLD)))
    if similarity == "cosine":
        matrix = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
    else:
        matrix = (a @ b.T).softmax(-1)
    row, column = (torch.arange(n, device=a.device) for n in matrix.shape)
    identity = (row.unsqueeze(1) + first == column).to(matrix.dtype)
    error = (matrix - identity).square()
    match reduction:
        case "mean":
            return error.mean()
        case "rows":
            return error.sum(1).mean()
        case "sum":
            return error.sum() * processes


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised cross-entropy of each graph at a temperature: two views (B, F, D) of B bodies' graphs -> (B, F).

    How much likelier than the graph's own second view those of other bodies' graphs are; the own one is not among
    them, as in GraphCL Eq. 3. Nor are those of the same body, which in neighbouring frames are nearly the same.
    """
    with torch.autocast(first.device.type, enabled=False):
        a, b = (F.normalize(z.float(), dim=-1) for z in (first, second))
        similarity = torch.einsum("bfd,cgd->bfcg", a, b) / temperature
        own = torch.eye(len(a), dtype=torch.bool, device=a.device)[:, None, :, None]
        others = similarity.masked_fill(own, -torch.inf).flatten(2).logsumexp(-1)
        return others - (a * b).sum(-1) / temperature
