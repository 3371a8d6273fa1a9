"""The host's half of the link (docs/protocol.md): frames, a session, and speech through it."""
