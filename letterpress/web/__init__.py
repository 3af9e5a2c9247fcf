"""The export for the page that people draw on."""
