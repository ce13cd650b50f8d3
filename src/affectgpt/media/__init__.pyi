from .clip import load_clip as load_clip
from .decode.decoder import Decoded as Decoded
from .profile import MediaProfile as MediaProfile
from .sound.segments import segment_waveform as segment_waveform
from .whole_clip import ClipMedia as ClipMedia
from .whole_clip import read_clip as read_clip
