"""Passes over the graph and over the kernel calls, each in a file of its own."""
