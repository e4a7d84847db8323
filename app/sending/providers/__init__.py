"""Match files of data providers, turned into our events.

A provider's file is read twice. Its own module here reads the plain rows: which there are, what each becomes, whose it
is, and when. ``kloppy`` reads the same file for what needs knowledge of the provider's pitch and line-ups: places and
names. So a row that ``kloppy`` passes over is accounted for all the same.

``known.py`` lists the providers, ``match.py`` says what a module of theirs returns, ``conversion.py`` makes events of
it, ``clock.py`` has minutes and pauses, ``reading.py`` is the only one that calls ``kloppy``.
"""
