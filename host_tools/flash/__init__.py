"""Firmware onto a board: what is plugged in, and the uploaders."""
