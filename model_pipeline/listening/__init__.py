"""Long audio through front end, model and detector as the firmware runs them; sessions, scores and calibration.

Needs no TensorFlow. See docs/listening.md. Imports nothing here: training uses a part of it, and need not be done again
because of the rest.
"""
