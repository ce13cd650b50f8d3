"""The verb ``pack``: writes clips and a manifest as WebDataset shards."""
