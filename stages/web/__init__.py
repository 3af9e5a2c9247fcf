"""The letters classifier for the page that people draw on."""
