from .encode_shards import EncodeReport as EncodeReport
from .encode_shards import encode as encode
from .encoder_set import EncoderSet as EncoderSet
from .feeding import feature_key as feature_key
