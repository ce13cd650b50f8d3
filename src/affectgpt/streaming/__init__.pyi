from .stream import ShardStream as ShardStream
