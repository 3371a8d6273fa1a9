"""Builds the project and the libraries that it names: PlatformIO's library finder does the rest."""

from SCons.Script import Default, DefaultEnvironment

env = DefaultEnvironment()
prefix = env.GetProjectOption("custom_prefix", "")
env.Replace(
    CC=prefix + "gcc",
    CXX=prefix + "g++",
    AS=prefix + "gcc",
    AR=prefix + "gcc-ar",
    RANLIB=prefix + "gcc-ranlib",
    LINK=prefix + "gcc",
    PROGNAME="program",
    PROGSUFFIX=".elf",
)
flags = env.GetProjectOption("custom_machine", "").split()
env.Append(CCFLAGS=flags, LINKFLAGS=[*flags, *env.GetProjectOption("custom_link", "").split()])
Default([env.BuildProgram()])
