"""Edge Impulse: recordings up and down, trained models down, estimates (docs/edgeimpulse.md)."""
