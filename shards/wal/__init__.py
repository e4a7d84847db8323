"""The write-ahead log: one directory of segments per shard, one committer thread for all of them."""
