"""Calibrates a model on a manifest of clips with labels, and draws how reliable its confidence is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from affectgpt.datamodules.collate import collate
from affectgpt.errors import DataError
from affectgpt.files import write_whole
from affectgpt.manifests import Record, read_manifest
from affectgpt.media.clip import load_clip
from affectgpt.media.faces.base import FaceDetector
from affectgpt.pages.plotting import INK, PALE, SOFT, STRONG, new_panels, to_png
from affectgpt.registry import FACE_DETECTORS
from affectgpt.watch.calibration import RIGHT, Calibration, calibrate, reliability
from affectgpt.watch.sureness import Asking, Sureness, answer_surely, overlap


def calibrate_on(
    model: Any,
    manifest: str | Path,
    asking: Asking,
    *,
    out: str | Path | None = None,
    batch_size: int = 8,
    model_name: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Answer the clips of a manifest, and fit a calibration.

    Args:
        model: An ``AffectGPT``.
        manifest: Clips with labels, on which the model was not trained; clips without labels are left out.
        asking: How they are answered; films must then be answered the same way.
        out: JSON file for the calibration; the reliability plot is written beside it.
        batch_size: Clips answered at a time.
        model_name: What the model is called in the file.
        progress: Called with the number of answered clips and of all.

    Raises:
        DataError: If a clip cannot be decoded, or there are too few with labels.
    """
    records = [record for record in read_manifest(manifest) if record.labels]
    if not records:
        raise DataError(f"{str(manifest)!r} has no clip with labels; calibrating needs them")
    detector = FACE_DETECTORS.build("centerface") if "face" in model.media.sources else None
    found: list[Sureness] = []
    overlaps: list[float] = []
    for start in range(0, len(records), batch_size):
        some = records[start : start + batch_size]
        clips = [_load(record, model, detector) for record in some]
        batch = collate(clips, [model.style.label_question] * len(some), profile=model.media)
        for record, (answer, sure) in zip(some, answer_surely(model, batch, asking), strict=True):
            found.append(sure)
            overlaps.append(overlap(answer.labels, record.labels))
        if progress is not None:
            progress(start + len(some), len(records))
    fitted = calibrate(found, overlaps, model_name)
    if out is not None:
        fitted.save(out)
        draw_reliability(found, overlaps, fitted, Path(out).with_suffix(".png"))
    return fitted


def draw_reliability(
    found: Sequence[Sureness], overlaps: Sequence[float], fitted: Calibration, out: str | Path
) -> None:
    """Draw mean confidence against the share of right answers, before and after.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    right = np.array([value >= RIGHT for value in overlaps])
    figure, panels = new_panels(1, 2, 8.4, 4.0, grid="y", extra="report")
    after = f"calibrated (error {fitted.error_after:.3f} on clips left out)"
    for axes, title, values in (
        (panels[0], f"as the model says (error {fitted.error_before:.3f})", [one.raw for one in found]),
        (panels[1], after, [fitted(one) for one in found]),
    ):
        points = reliability(values, right, bins=min(10, max(2, len(right) // 10)))
        axes.plot([0, 1], [0, 1], color=PALE, linewidth=1.5)
        axes.plot([mean for mean, _, _ in points], [share for _, share, _ in points], "o-", color=STRONG, markersize=5)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_title(title, fontsize=10.5, color=INK)
        axes.set_xlabel("confidence", color=SOFT)
        axes.set_ylabel("share of right answers", color=SOFT)
    write_whole(out, to_png(figure))


def _load(record: Record, model: Any, detector: FaceDetector | None) -> Any:
    file = record.video or record.audio
    assert file is not None  # the manifest has one of them
    separate = record.audio if record.video and record.audio else None
    clip, _ = load_clip(file, model.media, key=record.key, audio=separate, subtitle=record.subtitle, faces=detector)
    return clip
