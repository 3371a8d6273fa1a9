"""Whether a device does as the host does."""
