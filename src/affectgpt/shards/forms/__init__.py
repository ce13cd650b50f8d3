"""The forms of a sample that shards can hold beside whole media: ready frames, and feature vectors."""
