"""``kws web``: a page that listens with an exported model, and shows what a board makes of the same sound."""
