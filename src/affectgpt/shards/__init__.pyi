from .index import ShardIndex as ShardIndex
from .index import read_index as read_index
from .packing import PackReport as PackReport
from .packing import pack as pack
from .tar_writer import Sample as Sample
from .webdataset_pipeline import webdataset_pipeline as webdataset_pipeline
from .write import ShardWriter as ShardWriter
