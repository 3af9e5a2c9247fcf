"""Tools around the pipelines; the Makefile runs them. No stage imports them."""
