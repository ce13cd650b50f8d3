"""The built-in parts: name to ``module:attr``, as data."""

from __future__ import annotations

from collections.abc import Mapping

ENCODER_TABLE: Mapping[str, str] = {
    "clip": "affectgpt.encoders.clip_vit:ClipVitEncoder",
    "clip-vit-large-14.openai": "affectgpt.encoders.clip_vit:clip_vit_large_14_openai",
    "hubert": "affectgpt.encoders.hubert:SpeechEncoder",
    "wav2vec2": "affectgpt.encoders.hubert:SpeechEncoder",
    "wavlm": "affectgpt.encoders.hubert:SpeechEncoder",
    "data2vec-audio": "affectgpt.encoders.hubert:SpeechEncoder",
    "hubert-large.chinese": "affectgpt.encoders.hubert:hubert_large_chinese",
    "precomputed": "affectgpt.encoders.precomputed:PrecomputedEncoder",
    "tiny-vision": "affectgpt.encoders.tiny:TinyVisionEncoder",
    "tiny-audio": "affectgpt.encoders.tiny:TinyAudioEncoder",
}
ENCODER_PREFIXES: Mapping[str, str] = {
    "timm/": "affectgpt.encoders.timm:TimmEncoder",
    "torchaudio/": "affectgpt.encoders.torchaudio:TorchaudioEncoder",
}
SOURCE_TABLE: Mapping[str, str] = {
    "frame": "affectgpt.sources.pictures:FrameSource",
    "face": "affectgpt.sources.pictures:FaceSource",
    "image": "affectgpt.sources.pictures:ImageSource",
    "audio": "affectgpt.sources.sound:AudioSource",
}
POOLING_TABLE: Mapping[str, str] = {
    "mean": "affectgpt.fusion.pooling:MeanPooling",
    "attention": "affectgpt.fusion.pooling:AttentionPooling",
    "attention-softmax": "affectgpt.fusion.pooling:SoftmaxAttentionPooling",
    "qformer": "affectgpt.fusion.pooling:QFormerPooling",
}
PREFUSION_TABLE: Mapping[str, str] = {
    "none": "affectgpt.fusion.prefusion:NoPreFusion",
    "attention": "affectgpt.fusion.prefusion:AttentionPreFusion",
    "attention-softmax": "affectgpt.fusion.prefusion:SoftmaxAttentionPreFusion",
    "qformer": "affectgpt.fusion.prefusion:QFormerPreFusion",
    "gated": "affectgpt.fusion.gated:GatedPreFusion",
    "cross-attention": "affectgpt.fusion.cross_attention:CrossAttentionPreFusion",
    "experts": "affectgpt.fusion.modality_experts:ExpertsPreFusion",
}
PROJECTOR_TABLE: Mapping[str, str] = {
    "linear": "affectgpt.fusion.projector:LinearProjector",
}
LLM_TABLE: Mapping[str, str] = {
    "causal-lm": "affectgpt.llm.causal_lm:CausalLM",
    "smollm2-135m-instruct": "affectgpt.llm.smollm2:smollm2_135m_instruct",
    "tiny": "affectgpt.llm.tiny:TinyLM",
}
DATAMODULE_TABLE: Mapping[str, str] = {
    "mercaption": "affectgpt.datamodules.mercaption:MERCaptionDataModule",
    "unibench": "affectgpt.datamodules.unibench.datamodule:UniBenchDataModule",
}
FACE_DETECTOR_TABLE: Mapping[str, str] = {
    "centerface": "affectgpt.media.faces.centerface:CenterFaceDetector",
}
ASR_TABLE: Mapping[str, str] = {
    "faster-whisper": "affectgpt.media.speech.faster_whisper:FasterWhisperAsr",
    "transformers": "affectgpt.media.speech.transformers:TransformersAsr",
}
ANSWERER_TABLE: Mapping[str, str] = {
    "affectgpt": "affectgpt.bench.answerers.checkpoint:CheckpointAnswerer",
    "openai": "affectgpt.bench.answerers.openai_server:OpenAIAnswerer",
    "transformers": "affectgpt.bench.answerers.transformers_model:TransformersAnswerer",
    "command": "affectgpt.bench.answerers.program:ProgramAnswerer",
    "files": "affectgpt.bench.answerers.prediction_files:FileAnswerer",
}
STAGE_TABLE: Mapping[str, str] = {
    "cues": "affectgpt.annotate.describe.cues:CuesStage",
    "openai": "affectgpt.annotate.describe.chat_describer:ServerDescriber",
    "transformers": "affectgpt.annotate.describe.local_describer:LocalDescriber",
    "command": "affectgpt.annotate.describe.command:CommandStage",
    "merge": "affectgpt.annotate.describe.merge:MergeStage",
    "labels": "affectgpt.annotate.describe.label_reader:LabelsStage",
    "active-speaker": "affectgpt.annotate.filters.active_speaker:ActiveSpeakerStage",
    "voice": "affectgpt.annotate.filters.voice_filter:VoiceStage",
    "description-length": "affectgpt.annotate.filters.description_length:DescriptionLengthStage",
    "vote": "affectgpt.annotate.filters.vote:VoteStage",
    "agreement": "affectgpt.annotate.filters.agreement:AgreementStage",
}
OBJECTIVE_TABLE: Mapping[str, str] = {
    "grpo": "affectgpt.post_training.grpo:Grpo",
    "view-distillation": "affectgpt.post_training.view_distillation:ViewDistillation",
    "dpo": "affectgpt.post_training.dpo:Dpo",
}
REWARD_TABLE: Mapping[str, str] = {
    "wheel": "affectgpt.training.rewards.wheel:WheelReward",
    "hit": "affectgpt.training.rewards.wheel:HitReward",
    "format": "affectgpt.training.rewards.form:FormatReward",
    "length": "affectgpt.training.rewards.form:LengthPenalty",
    "label-count": "affectgpt.training.rewards.form:LabelCountPenalty",
    "unseen-words": "affectgpt.training.rewards.form:UnseenWordPenalty",
    "repetition": "affectgpt.training.rewards.form:RepetitionPenalty",
    "faithfulness": "affectgpt.training.rewards.faithful:FaithfulnessPenalty",
}
