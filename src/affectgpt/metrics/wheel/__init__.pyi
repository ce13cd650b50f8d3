from .emotion_wheel import EmotionWheel as EmotionWheel
