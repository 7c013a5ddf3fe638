"""Refuses subinterpreters before anything is loaded there: a native module has one state, that of the main interpreter."""

from __future__ import annotations

import sys

if sys.version_info < (3, 12):
    # From 3.12 on Python itself refuses.
    from importlib import import_module

    interpreters = import_module("_xxsubinterpreters")
    if interpreters.get_current() != interpreters.get_main():
        raise ImportError("liter_llm cannot be used in a subinterpreter; import it in the main interpreter, or use processes")
