"""What goes wrong with the letters, to look at."""
