"""The commands, one module each; :mod:`app.__main__` loads the one that is called."""
