"""Recorded matches: a file read as the events to send and the rows left out.

``opening.py`` decides by its content what a file is, and gives it to ``own.py`` (our events, in every form in which
they are written down) or to its provider's module (:mod:`app.sending.providers`, listed in ``kinds.py``).
``content.py`` reads bytes and names what is no text, ``whole.py`` parses what is whole of a file that is cut off,
``beside.py`` finds the file that belongs to it.
"""
