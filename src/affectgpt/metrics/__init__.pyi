from . import functional as functional
from .hit_rate import EmotionHitRate as EmotionHitRate
from .labels import parse_labels as parse_labels
from .sentiment import SentimentScore as SentimentScore
from .wheel.emotion_wheel import EmotionWheel as EmotionWheel
from .wheel_score import EmotionWheelScore as EmotionWheelScore
