"""What serves the project rather than the pipelines. No stage imports it."""
