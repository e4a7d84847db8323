"""What fault tests load into the service's process: nothing of it is part of the service.

::

    __main__.py    starts the service with what the environment asks for: ``python -m tests.faults.inside serve``
    failpoints.py  places where an error can be raised, or a task cancelled
    places.py      which calls, awaits and system calls of the core are such places
"""
