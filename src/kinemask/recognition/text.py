"""What training found, in lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinemask.recognition.labels import listed

if TYPE_CHECKING:
    from kinemask.recognition.assessment import Assessment
    from kinemask.recognition.train import Trained

SHOWN = 3  # pairs of classes


def summary(trained: Trained) -> str:
    """How good it is, beside what, where it fails, and what to type next; the last lines are commands."""
    found, out = trained.assessment, trained.path.parent
    lines = [f"looks at {trained.recogniser.choice_}", *without_encoder(trained)]
    lines += ["how good it is on new clips is not known: held out of so few, nothing is left"] if found is None else []
    lines += [] if found is None else assessed(found)
    if found is not None and found.advised is not None:
        lines.append(advice(found))
    lines += [f"{trained.path} in {trained.seconds:.0f} s; report: {trained.report}", "next:"]
    return "\n".join([*lines, *(f"  {command}" for command in next_commands(str(out)))])


def without_encoder(trained: Trained) -> list[str]:
    """A sentence where an encoder was offered and is not used."""
    made = trained.recogniser
    used = made.encoder is None or "tokens" in made.choice_.features or made.choice_.tuned
    return [] if used else [f"the tokens of {made.encoder} did not help on clips left out, so it does without them"]


def assessed(found: Assessment) -> list[str]:
    """Sentences on accuracy, baseline and confusions."""
    low, high = found.interval
    share = f"{found.right / len(found):.1%} (95 % interval {low:.1%} to {high:.1%})"
    lines = [
        f"{found.right:,} of {len(found):,} clips right, {share}: {found.by}"
        + (f"; {found.note}" if found.note else ""),
        beside(found),
    ]
    pairs = [f"{one.true} for {one.taken} ({one.count} of {one.of})" for one in found.confused[:SHOWN]]
    lines += [f"taken for another most often: {', '.join(pairs)}"] if pairs else []
    poor = [name for name, right, of in found.per_class if not right]
    lines += [f"never recognised: {listed(poor)}"] if poor else []
    return lines


def beside(found: Assessment) -> str:
    """The strongest baseline on the same clips."""
    name, right = found.strongest
    ahead = "; it is no worse than this recogniser" if right >= found.right else ""
    return f"strongest baseline: {name}, {right / len(found):.1%}{ahead}"


def advice(found: Assessment) -> str:
    """The threshold at which nearly all answers are right."""
    point = found.advised
    assert point is not None
    return (
        f"with --min-confidence {point.threshold:g} it answers {point.answered / len(found):.0%} of them,"
        f" {point.right / point.answered:.0%} of these rightly, and says unsure to the others"
    )


def duration(seconds: float) -> str:
    """About how long, in words."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} minutes"


def next_commands(out: str) -> list[str]:
    return [
        f"kinemask predict {out} NEW-RECORDINGS --out labels.csv",
        f"kinemask embed {out} NEW-RECORDINGS --out features.npz",
    ]
