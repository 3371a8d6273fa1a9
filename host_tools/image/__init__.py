"""Firmware images: built, and run on an emulated board."""
