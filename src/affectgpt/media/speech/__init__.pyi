from .activity import speech_segments as speech_segments
from .base import Asr as Asr
from .base import Segment as Segment
from .base import Transcript as Transcript
from .transcribe import build_asr as build_asr
from .transcribe import transcribe_clip as transcribe_clip
