"""What the tests of several rooms share: makers of models, firmware images and data, fakes, and the Cortex-M4 bench."""
