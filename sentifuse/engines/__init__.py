"""Who runs the encoding: each engine maps `encode_shard` over the shards that are missing."""
