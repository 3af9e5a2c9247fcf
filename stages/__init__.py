"""The stages of the pipelines: a verb is a stage you run, a noun a library you import. A child imports its parent only."""
