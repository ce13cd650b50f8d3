from .base import Source as Source
from .base import pad as pad
from .pictures import FaceSource as FaceSource
from .pictures import FrameSource as FrameSource
from .pictures import ImageSource as ImageSource
from .sound import AudioSource as AudioSource
