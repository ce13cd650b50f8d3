"""The forms of a sample in shards other than whole media: ready frames, and feature vectors."""
