"""An encoder's model card: what it is, what it has learned from, and how to use it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinemask.models.hub import code, licence_section, write_card

if TYPE_CHECKING:
    from kinemask.models.encoders import TrainedEncoder

_TAGS = ("kinemask", "skeleton", "human-pose", "self-supervised-learning")


def write_encoder_card(folder: Path, made: TrainedEncoder, repository: str, licence: str | None) -> None:
    """Write README.md."""
    of, sampling, count = made.layout, made.sampling, sum(p.numel() for p in made.encoder.parameters())
    about = (
        f"An encoder of skeletons in motion ({code(made.encoder.architecture)}, {count / 1e6:.1f} million parameters),"
        " pre-trained with kinemask."
    )
    use = f"""## Use

```python
from kinemask.models.encoders import TrainedEncoder

encoder = TrainedEncoder.from_pretrained("{repository}")
features = encoder.encode(recordings)  # a list of (T, {of.num_joints}, {of.dims}), NaN where missing -> (N, D)
```

The file is safetensors; loading it runs no code."""
    joints = (
        f"## Joints\n\nLayout {code(of.name)}: {of.num_joints} joints in {of.dims}D, in this order:"
        f" {', '.join(map(code, of.joints))}. Clips are resampled to {sampling.frames} frames."
    )
    sections = [
        f"# {repository.partition('/')[2]}",
        about,
        use,
        joints,
        _training(made.record),
        licence_section(licence),
    ]
    write_card(folder, licence, _TAGS, sections)


def _training(record: dict[str, Any]) -> str:
    sources = [source.get("dataset") for source in record.get("sources") or () if isinstance(source, dict)]
    named = ", ".join(code(one) for one in sources if one) or "a training set that is not named"
    split = f", split {code(record['split'])}" if record.get("split") else ""
    method = f", by the method {code(record['method'])}" if record.get("method") else ""
    epochs = f" in {record['epochs']} epochs" if isinstance(record.get("epochs"), int) else ""
    return (
        f"## Training\n\nOn {named}{split}{method}{epochs}.\n\nHow good it is depends on what is made of it: the file"
        " keeps no accuracy, which `kinemask evaluate` measures."
    )
