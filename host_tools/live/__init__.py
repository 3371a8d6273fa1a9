"""A live look at a device: sources of sound, what is kept of it, what is shown, and thresholds moved meanwhile."""
