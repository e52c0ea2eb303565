"""Whether there is a C++ compiler, which torch needs to compile for a CPU.

Used by: the training command and the compiled search, which say so before any work is in vain.
"""

import os
import shutil

COMPILERS = ("g++", "clang++", "c++", "cl")


def has_cpp_compiler() -> bool:
    """Return whether the variable CXX names a program, or one of `COMPILERS` is on the PATH."""
    names = (os.environ.get("CXX", ""), *COMPILERS)
    return any(name and shutil.which(name) for name in names)
