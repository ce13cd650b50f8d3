from .encode_shards import EncodeReport as EncodeReport
from .encode_shards import encode as encode
from .encoder_set import EncoderSet as EncoderSet
