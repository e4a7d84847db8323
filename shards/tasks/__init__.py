"""Tasks that end without being told to: they are logged, counted, and started anew.

::

    watch.py      keeps tasks running, and knows which are not
    threads.py    work in threads that goes on when the task that waits for it is cancelled
    backoff.py    the pause before another try
"""
