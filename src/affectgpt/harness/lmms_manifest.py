"""Tells lmms-eval, through its entry point, that there is a model called ``affectgpt``."""

from __future__ import annotations

from lmms_eval.models.registry_v2 import ModelManifest

MANIFEST = ModelManifest(model_id="affectgpt", simple_class_path="affectgpt.harness.lmms_model.AffectGPTModel")
