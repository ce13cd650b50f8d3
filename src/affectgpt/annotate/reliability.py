"""How far people agree with each other and with the engine: Krippendorff's alpha, and accuracy by stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

from affectgpt.annotate.outcomes import ClipOutcome
from affectgpt.annotate.review_log import Verdict


def krippendorff_alpha(units: Iterable[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha for nominal values, with any number of raters and missing values.

    Krippendorff, Content Analysis, 4th ed. (2019), chapter 12: 1 - observed / expected disagreement over the pairs of
    values within a unit; 1 is agreement, 0 what chance gives.

    Args:
        units: For each unit the values that its raters gave; units with fewer than two do not count.

    Returns:
        Alpha, or ``None`` where nothing can be said: no two values for any unit, or one value everywhere.

    Examples:
        >>> round(krippendorff_alpha([("a", "a"), ("b", "b"), ("a", "b"), ("b", "b")]), 3)
        0.533
    """
    coincidences = Counter[tuple[Hashable, Hashable]]()
    for values in units:
        for pair in permutations(values, 2) if len(values) > 1 else ():
            coincidences[pair] += 1 / (len(values) - 1)  # type: ignore[assignment]
    totals = Counter[Hashable]()
    for (value, _), weight in coincidences.items():
        totals[value] += weight
    count = sum(totals.values())
    observed = sum(weight for (a, b), weight in coincidences.items() if a != b)
    expected = count * count - sum(total * total for total in totals.values())
    if count <= 1 or expected <= 1e-12:
        return None
    return 1 - (count - 1) * observed / expected


def agreement(latest: Mapping[str, Mapping[str, Verdict]], engine: Mapping[str, ClipOutcome]) -> dict[str, Any]:
    """How far people and the engine agree about keeping clips.

    Args:
        latest: Clip to person to decision; see ``ReviewLog.latest``.
        engine: What the engine decided about those clips.

    Returns:
        ``clips`` that people looked at; ``alpha_with_engine`` over people and the engine, ``alpha_of_people`` over
        people alone (``None`` where nothing can be said); ``by_stage``: for each stage, and for ``kept``, how many of
        its decisions people looked at, and how many of those they share; ``edited``: clips that somebody edited.
    """
    with_engine, alone = [], []
    by_stage: dict[str, Counter[str]] = {}
    edited = 0
    for key, verdicts in latest.items():
        outcome = engine.get(key)
        counted = [v for v in verdicts.values() if outcome is not None and v.clip == outcome.clip]
        if outcome is None or not counted:
            continue
        said = [v.decision != "reject" for v in counted]
        edited += any(v.decision == "edit" for v in counted)
        alone.append(said)
        if outcome.outcome in ("kept", "dropped"):
            kept = outcome.outcome == "kept"
            with_engine.append([*said, kept])
            counts = by_stage.setdefault("kept" if kept else str(outcome.stage), Counter())
            counts["reviewed"] += 1
            counts["shared"] += 2 * said.count(kept) > len(said)
    return {
        "clips": len(alone),
        "people": sorted({who for verdicts in latest.values() for who in verdicts}),
        "edited": edited,
        "alpha_with_engine": krippendorff_alpha(with_engine),
        "alpha_of_people": krippendorff_alpha(alone),
        "by_stage": {
            stage: {**counts, "accuracy": counts["shared"] / counts["reviewed"]} for stage, counts in by_stage.items()
        },
    }
