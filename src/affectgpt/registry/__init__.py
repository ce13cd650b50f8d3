"""Finds and builds the swappable parts by name; standard library only.

A part is described by a ``Spec``: a name and plain-JSON arguments. Built-in parts are a lazy table of names, so listing
them imports nothing. Parts of other projects come as installed plugins (entry points), by decorator, or as
``package.module:Class``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affectgpt.registry.builtin_parts import (
    ANSWERER_TABLE,
    ASR_TABLE,
    DATAMODULE_TABLE,
    ENCODER_PREFIXES,
    ENCODER_TABLE,
    FACE_DETECTOR_TABLE,
    LLM_TABLE,
    OBJECTIVE_TABLE,
    POOLING_TABLE,
    PREFUSION_TABLE,
    PROJECTOR_TABLE,
    REWARD_TABLE,
    SOURCE_TABLE,
    STAGE_TABLE,
)
from affectgpt.registry.registry import EXTRA_OF_MODULE, Entry, Registry
from affectgpt.registry.spec import Spec

if TYPE_CHECKING:
    from lightning import LightningDataModule

    from affectgpt.annotate.stage import Stage
    from affectgpt.bench.answerers.base import Answerer
    from affectgpt.encoders.base import Encoder
    from affectgpt.fusion.base import Pooling, PreFusion
    from affectgpt.fusion.projector import Projector
    from affectgpt.llm.base import LLMHead
    from affectgpt.media.faces.base import FaceDetector
    from affectgpt.media.speech.base import Asr
    from affectgpt.model.objective import Objective
    from affectgpt.sources.base import Source
    from affectgpt.training.rewards.base import Reward

__all__ = [
    "ANSWERERS",
    "ASRS",
    "DATAMODULES",
    "ENCODERS",
    "EXTRA_OF_MODULE",
    "FACE_DETECTORS",
    "LLMS",
    "OBJECTIVES",
    "POOLINGS",
    "PREFUSIONS",
    "PROJECTORS",
    "REWARDS",
    "SOURCES",
    "STAGES",
    "Entry",
    "Registry",
    "Spec",
]

ENCODERS: Registry[Encoder] = Registry(
    "encoder", "affectgpt.encoders.base:Encoder", ENCODER_TABLE, "affectgpt.encoders", ENCODER_PREFIXES
)
SOURCES: Registry[Source] = Registry("source", "affectgpt.sources.base:Source", SOURCE_TABLE, "affectgpt.sources")
POOLINGS: Registry[Pooling] = Registry("pooling", "affectgpt.fusion.base:Pooling", POOLING_TABLE, "affectgpt.poolings")
PREFUSIONS: Registry[PreFusion] = Registry(
    "pre-fusion", "affectgpt.fusion.base:PreFusion", PREFUSION_TABLE, "affectgpt.prefusions"
)
PROJECTORS: Registry[Projector] = Registry(
    "projector", "affectgpt.fusion.projector:Projector", PROJECTOR_TABLE, "affectgpt.projectors"
)
LLMS: Registry[LLMHead] = Registry("LLM", "affectgpt.llm.base:LLMHead", LLM_TABLE, "affectgpt.llms")
DATAMODULES: Registry[LightningDataModule] = Registry(
    "datamodule", "lightning:LightningDataModule", DATAMODULE_TABLE, "affectgpt.datamodules"
)
FACE_DETECTORS: Registry[FaceDetector] = Registry(
    "face detector", "affectgpt.media.faces.base:FaceDetector", FACE_DETECTOR_TABLE, "affectgpt.face_detectors"
)
ASRS: Registry[Asr] = Registry("speech recogniser", "affectgpt.media.speech.base:Asr", ASR_TABLE, "affectgpt.asrs")
OBJECTIVES: Registry[Objective] = Registry(
    "objective", "affectgpt.model.objective:Objective", OBJECTIVE_TABLE, "affectgpt.objectives"
)
REWARDS: Registry[Reward] = Registry(
    "reward", "affectgpt.training.rewards.base:Reward", REWARD_TABLE, "affectgpt.rewards"
)
ANSWERERS: Registry[Answerer] = Registry(
    "answerer", "affectgpt.bench.answerers.base:Answerer", ANSWERER_TABLE, "affectgpt.answerers"
)
STAGES: Registry[Stage] = Registry("stage", "affectgpt.annotate.stage:Stage", STAGE_TABLE, "affectgpt.stages")
