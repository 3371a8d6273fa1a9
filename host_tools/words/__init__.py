"""Own keywords: a new project, and takes from the microphone."""
