"""What a firmware or a model costs and gets right, measured."""
