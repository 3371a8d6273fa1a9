"""``kws search``: networks on the front of accuracy against instructions, within limits of a board. docs/search.md."""
