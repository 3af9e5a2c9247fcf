"""Work divided into shards, for processes on one machine or a Ray cluster."""
