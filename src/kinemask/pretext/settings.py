"""Settings of the methods; without PyTorch, so that the command line can show them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from kinemask.checks import check_not_negative, check_positive, check_share, warn_unused
from kinemask.skeleton import PARTS

TargetNorm = Literal["token", "sequence", "none"]
Smoothing = Literal["adjacency", "parts", "none"]
Similarity = Literal["softmax", "cosine"]
Reduction = Literal["mean", "rows", "sum"]
Negatives = Literal["local", "gathered"]
Augmentation = Literal["none", "drop", "edges", "mask", "subgraph"]


def check_mask(mask_ratio: float, tau: float = 1.0) -> None:
    """Raise ValueError unless the settings that masks share make sense."""
    if not 0 < mask_ratio < 1:
        raise ValueError(f"pretext.mask_ratio must be between 0 and 1, not {mask_ratio}")
    if tau <= 0:
        raise ValueError(f"pretext.tau must be positive, not {tau}")


@dataclass(kw_only=True)
class MAMPSettings:
    """Masked motion prediction.

    Args:
        mask_ratio: share of the tokens that is masked
        masking: motion masks what moves (softmax of motion intensity plus Gumbel noise); random is MAE
        tau: temperature of the motion mask; higher is more random
        gumbel: Gumbel noise in the motion mask; without it the tokens that move most are masked (HA-CM Table VI)
        predict: what is predicted at masked tokens; coordinates is MAE
        motion_stride: frames between the two positions whose difference is the motion
        target_norm: token normalises each token (the papers), sequence each joint over its whole window
    """

    mask_ratio: float = 0.9
    masking: Literal["motion", "random"] = "motion"
    tau: float = 0.8
    gumbel: bool = True
    predict: Literal["motion", "coordinates"] = "motion"
    motion_stride: int = 1
    target_norm: TargetNorm = "token"

    def __post_init__(self):
        check_mask(self.mask_ratio, self.tau)
        if self.masking == "random":
            warn_unused("pretext", self, "with random masks", "tau")
            if not self.gumbel:
                raise ValueError("pretext.gumbel: random masks are nothing but noise, so they need it")
        elif not self.gumbel:
            warn_unused("pretext", self, "without Gumbel noise", "tau")
        if self.predict == "coordinates":
            warn_unused("pretext", self, "where coordinates are predicted", "motion_stride")


@dataclass(kw_only=True)
class MAESettings(MAMPSettings):
    """Masked autoencoding of coordinates: MAMP's settings with other defaults."""

    masking: Literal["motion", "random"] = "random"
    predict: Literal["motion", "coordinates"] = "coordinates"


@dataclass(kw_only=True)
class HACMSettings:
    """Hierarchy- and attention-guided cross masking.

    Args:
        mask_ratio: share of the tokens that is masked, in each group of segments
        criteria: cross masks one half of the segments by the spatial and the other by the temporal criterion; spatial
            or temporal alone is one mask over all tokens
        temporal_group: which segments, counted from 0, get the temporal criterion under cross; even as Eq. 18-19, the
            released code and Table VII's best row have it, odd as the text around Eq. 8 reads if it counts from 0
        temporal_strategy: 1 is hyperbolic similarity over time (Eq. 14), 2 attention on embeddings (Eq. 15)
        temporal_projection: the maps of strategy 2; frozen stay as initialised (a mask passes no gradient), first_block
            borrows the trained query and key maps of the encoder's first block
        radial_weight: weight of the distance to the root beside the distances between joints; 1 is the paper's sum,
            the released code has 0.01
        tau: temperature; higher is more random
        gumbel: random masks by Gumbel noise; without it the criterion alone decides
        mask: high masks tokens low in the hierarchy and highly correlated (the paper's text), low masks the others
            (its Eq. 17 to the letter)
        motion_stride: frames between the two positions whose difference is predicted
        target_space: poincare maps motion (metres) into the ball
        target_vector: what is mapped, each frame's vector before it is cut into tokens, or a token's S frames stacked
            (Eq. 23's order)
        target_norm: token normalises each token, as the released code (the paper does not say), sequence each joint
            over its whole window
        contrast_weight: weight μ of the cross-contrast loss; 0 leaves it out
        similarity: softmax takes the softmax of each row of inner products, as the released code; cosine their cosines.
            Eq. 26 as printed, plain products of vectors of norm √D against the identity, explodes
        contrast_reduction: mean over the B² entries, as the released code; rows sums over columns and averages rows;
            sum is Eq. 26 as printed
        negatives: gathered contrasts with the whole batch when several processes train
    """

    mask_ratio: float = 0.9
    criteria: Literal["cross", "spatial", "temporal"] = "cross"
    temporal_group: Literal["even", "odd"] = "even"
    temporal_strategy: Literal[1, 2] = 1
    temporal_projection: Literal["frozen", "first_block"] = "frozen"
    radial_weight: float = 1.0
    tau: float = 0.9
    gumbel: bool = True
    mask: Literal["high", "low"] = "high"
    motion_stride: int = 1
    target_space: Literal["poincare", "euclidean"] = "poincare"
    target_vector: Literal["frame", "token"] = "frame"
    target_norm: TargetNorm = "token"
    contrast_weight: float = 1.0
    similarity: Similarity = "softmax"
    contrast_reduction: Reduction = "mean"
    negatives: Negatives = "local"

    def __post_init__(self):
        check_mask(self.mask_ratio, self.tau)
        if self.contrast_weight and self.criteria != "cross":
            raise ValueError(
                f"pretext.criteria {self.criteria} has one group of segments and nothing to contrast; "
                "set pretext.contrast_weight to 0"
            )
        check_not_negative("pretext", self, "contrast_weight", "radial_weight")
        if self.criteria == "spatial":
            warn_unused("pretext", self, "with the spatial criterion", "temporal_strategy", "temporal_projection")
        elif self.temporal_strategy == 1:
            warn_unused("pretext", self, "with temporal_strategy 1", "temporal_projection")
        if self.criteria != "cross":
            warn_unused("pretext", self, "unless masks are crossed", "temporal_group")
        if self.criteria == "temporal":
            warn_unused("pretext", self, "with the temporal criterion", "radial_weight")
        if not self.gumbel:
            warn_unused("pretext", self, "without Gumbel noise", "tau")
        if self.target_space == "euclidean":
            warn_unused("pretext", self, "in euclidean target_space", "target_vector")
        if not self.contrast_weight:
            warn_unused("pretext", self, "without contrast", "similarity", "contrast_reduction", "negatives")


@dataclass(kw_only=True)
class Skeleton2vecSettings:
    """Contextual targets of a moving average, motion-aware masks over tubes.

    Args:
        mask_ratio: share of the joints that is masked in a tube
        tube_segments: segments that share a mask, α; 1 masks every segment by itself, all of them or more are one tube
        motion_weight: weight β of a joint's motion beside uniform noise where the mask is drawn; 0 ignores motion
        top_k_layers: blocks, from the last one down, whose outputs make the target; 0 takes all
        ema_decay: decay of the teacher's moving average at the start; rises linearly to 1 at the end of training. It
            remembers 1 / (1 − ema_decay) steps: on a run that is not many times longer, 0.9999 freezes the teacher
        center_target: take from each token of the target its mean over the batch's clips, which says where the token
            is and nothing of the clip; the loss then depends on how a batch is cut into parts and processes
    """

    mask_ratio: float = 0.9
    tube_segments: int = 5
    motion_weight: float = 0.1
    top_k_layers: int = 0
    ema_decay: float = 0.9999
    center_target: bool = False

    def __post_init__(self):
        check_mask(self.mask_ratio)
        check_positive("pretext", self, "tube_segments")
        check_not_negative("pretext", self, "motion_weight", "top_k_layers")
        check_share("pretext", self, "ema_decay")


@dataclass(kw_only=True)
class MaskSemSettings:
    """Semantic masks and hybrid high-order motion.

    Args:
        mask_ratio: share of the tokens that is masked
        masking: semantic masks what sets the clip apart from the static reference (Grad-CAM); motion is MAMP's mask
        tau: temperature of the mask; higher is more random
        score: relative divides by the clip's largest, as MAMP does; raw is Eq. 8 to the letter, which is nearly uniform
        smoothing: of the activations over joints that share a bone; over body parts, as the released code; or none
        reference: what counts as static, the mean over the training set or, as the released code, of the batch at
            hand, with which the loss depends on how a batch is cut into parts and processes
        ema_decay: decay of the encoder that finds the activations, a moving average; the paper gives none
        predict: velocity, acceleration or both at masked tokens
        acceleration_weight: share β of the acceleration in the loss
        heads: shared predicts velocity and acceleration by the same numbers, as Eq. 14; separate by their own
        weighting: probability weighs a masked token by its probability of being masked, none all alike
        target_norm: token normalises each token, as the released code (the paper does not say), sequence each joint
    """

    mask_ratio: float = 0.9
    masking: Literal["semantic", "motion"] = "semantic"
    tau: float = 0.8
    score: Literal["relative", "raw"] = "relative"
    smoothing: Smoothing = "adjacency"
    reference: Literal["dataset", "batch"] = "dataset"
    ema_decay: float = 0.999
    predict: Literal["both", "velocity", "acceleration"] = "both"
    acceleration_weight: float = 0.2
    heads: Literal["shared", "separate"] = "shared"
    weighting: Literal["probability", "none"] = "probability"
    target_norm: TargetNorm = "token"

    def __post_init__(self):
        check_mask(self.mask_ratio, self.tau)
        check_share("pretext", self, "ema_decay", "acceleration_weight")
        if self.masking == "motion":
            warn_unused("pretext", self, "with motion masks", "smoothing", "reference", "ema_decay")
        if self.predict != "both":
            warn_unused("pretext", self, "where one target is predicted", "acceleration_weight", "heads")


@dataclass(kw_only=True)
class SkeletonMAESettings:
    """Masked autoencoding of a skeleton graph, frame by frame.

    Args:
        parts: body parts that are masked, the same in every frame, as in the paper's experiments
        random_parts: mask so many of the six parts instead, drawn anew for every batch (the words of the paper's 3.1.2)
        masked_joints: mask so many joints instead, drawn anew in every frame; 0 takes as many as the parts have
        target: features predicts the unmasked embedding (no gradient through it), coordinates the direction of each
            joint from the origin: the loss knows no lengths
        beta: exponent of the re-weighted cosine error; a higher one looks more at the joints that are far off
    """

    parts: tuple[str, ...] = ("right_arm", "right_leg")
    random_parts: int = 0
    masked_joints: int | None = None
    target: Literal["features", "coordinates"] = "features"
    beta: float = 2.0

    def __post_init__(self):
        self.parts = tuple(self.parts)
        if not self.parts or not set(self.parts) <= set(PARTS) or len(set(self.parts)) < len(self.parts):
            raise ValueError(f"pretext.parts must be some of {', '.join(PARTS)}, each once, not {list(self.parts)}")
        if not 1 <= self.beta < float("inf"):
            raise ValueError(f"pretext.beta must be a number from 1 up, not {self.beta}")
        check_not_negative("pretext", self, "random_parts")
        if self.masked_joints is not None:
            check_not_negative("pretext", self, "masked_joints")
            unused = ("random_parts", "parts") if self.masked_joints else ("random_parts",)
            warn_unused("pretext", self, "where masked_joints are drawn", *unused)
        elif self.random_parts:
            warn_unused("pretext", self, "where random_parts are drawn", "parts")


@dataclass(kw_only=True)
class GraphCLSettings:
    """Contrast of two augmented views of a skeleton's graph.

    Args:
        augmentations: what a view may be: drop takes joints away, edges parts and joins joints, mask hides the features
            of joints behind a learned token, subgraph keeps joints that hang together, none changes nothing
        share: of the joints, or of the edges, that an augmentation changes
        pairs: uniform draws each pair of augmentations as often as another (GraphCL), adversarial more often the pairs
            that are hard for the encoder at hand (JOAO)
        gamma: how strongly the chances of adversarial pairs are held to uniform ones, γ
        ascent: step of the chances along their gradient, after every step of the encoder
        temperature: of the contrast, τ
        graph: frame takes each frame as a graph, clip the whole window, in which a joint is changed throughout
    """

    augmentations: tuple[Augmentation, ...] = ("drop", "edges", "mask", "subgraph")
    share: float = 0.2
    pairs: Literal["uniform", "adversarial"] = "uniform"
    gamma: float = 0.1
    ascent: float = 0.01
    temperature: float = 0.5
    graph: Literal["frame", "clip"] = "frame"

    def __post_init__(self):
        self.augmentations = tuple(self.augmentations)
        known = get_args(Augmentation)
        given = set(self.augmentations)
        if not given or not given <= set(known) or len(given) < len(self.augmentations):
            wrong = f"not {list(self.augmentations)}"
            raise ValueError(f"pretext.augmentations must be some of {', '.join(known)}, each once, {wrong}")
        if given == {"none"}:
            raise ValueError("pretext.augmentations: two views without augmentation are the same")
        if not 0 < self.share < 1:
            raise ValueError(f"pretext.share must be between 0 and 1, not {self.share}")
        check_positive("pretext", self, "temperature", "ascent")
        check_not_negative("pretext", self, "gamma")
        if self.pairs == "uniform":
            warn_unused("pretext", self, "with uniform pairs", "gamma", "ascent")


@dataclass(kw_only=True)
class MosaicSettings:
    """Random convolutions of the clean clip as the target.

    Args:
        mask_ratio: share of the tokens that is masked
        tube_segments: segments over which a joint is masked or kept
        ragged: noise of a token beside its tube's draw, which frays the tubes' ends; 0 masks whole tubes
        clip_weight: weight of the error of the clip's components
        part_weight: weight of the error of its parts' components
        motion_weight: weight of the error of motion at masked tokens
        kernels: random convolutions of the clip
        components: principal components of what they answer
        part_kernels: random convolutions of each body part
        part_components: components of each body part
        whiten: 1 brings all components to one variance, 0 leaves each its own
        target_norm: of the motion; token normalises each token, sequence each joint over its whole window
        ema_decay: decay of the moving average that is kept for use, at the start; rises linearly to 1
    """

    mask_ratio: float = 0.7
    tube_segments: int = 3
    ragged: float = 0.3
    clip_weight: float = 1.0
    part_weight: float = 1.0
    motion_weight: float = 0.5
    kernels: int = 1500
    components: int = 1024
    part_kernels: int = 500
    part_components: int = 256
    whiten: float = 0.5
    target_norm: TargetNorm = "token"
    ema_decay: float = 0.99

    def __post_init__(self):
        check_mask(self.mask_ratio)
        names = ("tube_segments", "kernels", "components", "part_kernels", "part_components")
        check_positive("pretext", self, *names)
        check_not_negative("pretext", self, "ragged", "clip_weight", "part_weight", "motion_weight")
        check_share("pretext", self, "ema_decay", "whiten")
        if not self.clip_weight + self.part_weight + self.motion_weight:
            raise ValueError("pretext.clip_weight, part_weight and motion_weight are all 0: there is nothing to learn")
        if not self.clip_weight:
            warn_unused("pretext", self, "with clip_weight 0", "kernels", "components")
        if not self.part_weight:
            warn_unused("pretext", self, "with part_weight 0", "part_kernels", "part_components")
        if not self.clip_weight + self.part_weight:
            warn_unused("pretext", self, "with clip_weight and part_weight 0", "whiten")
        if not self.motion_weight:
            warn_unused("pretext", self, "with motion_weight 0", "target_norm")
