"""Speech data: making it (synth), taking it in (importer, download) and reading it (dataset)."""
