"""Federated training with Flower: every client learns from the speech of its own speakers, and sends no speech.

Flower runs the rounds, on this machine (its simulation) or between machines (`flower-superlink`, `flower-supernode`);
what is ours is what a client learns (`local`), how it sends it (`upload`), who is asked and what is kept of a round
(`rounds`). Needs the extra ``federated``.
"""
