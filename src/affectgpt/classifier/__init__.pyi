from .emotion_classifier import ClassifiedClip as ClassifiedClip
from .emotion_classifier import EmotionClassifier as EmotionClassifier
