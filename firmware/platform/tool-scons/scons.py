"""Stands where PlatformIO looks for SCons; the real one is PyPI's."""

import SCons.Script

SCons.Script.main()
