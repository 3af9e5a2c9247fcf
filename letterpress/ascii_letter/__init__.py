"""The child pipeline: its config, its typefaces, and how letters are drawn."""
