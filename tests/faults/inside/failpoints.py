"""Failpoints: places where an error is raised, or the task cancelled, at random moments that follow from a seed.

A place is one side of a call, of a system call or of an await. Every few seconds one more is *armed*, of those that
were passed before and have failed least often. It fails when it is passed next, once, and that is noted in a file.
Nothing fails while there is no file ``on`` in the directory.
"""

import asyncio
import errno
import json
import os
import random
import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Literal

Action = Literal["OSError", "MemoryError", "RuntimeError", "cancel"]
ERRORS: tuple[Action, ...] = ("OSError", "MemoryError", "RuntimeError")

SWITCH = "on"
FIRED = "fired"
AHEAD_MAX = 8
"""Most places that are armed at once: some are passed seldom, and wait, until others take their turn."""

_write, _sleep, _exists = os.write, time.sleep, os.path.exists  # as they are before anything is wrapped


class Failpoints:
    """The places of one process. Threads and the event loop pass them."""

    def __init__(self, directory: Path, chance: random.Random, every_s: float) -> None:
        self._switch = str(directory / SWITCH)
        self._fired = os.open(directory / FIRED, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        # What failed before a restart of the process counts, so that in the end all have.
        self._times = Counter(one["place"] for one in map(json.loads, (directory / FIRED).read_text().splitlines()))
        self._chance = chance
        self._every_s = every_s
        self._on = False
        self._known: dict[str, bool] = {}
        self._armed: dict[str, Action] = {}

    def start(self) -> None:
        """Arm places from now on, in a thread."""
        threading.Thread(target=self._run, name="failpoints", daemon=True).start()

    def _run(self) -> None:
        armed_at = time.monotonic()
        while True:
            _sleep(min(self._every_s, 0.05))
            self._on = _exists(self._switch)
            if not self._on:
                self._armed.clear()
            elif time.monotonic() - armed_at >= self._every_s:
                armed_at = time.monotonic()
                self._arm()

    def _arm(self) -> None:
        if len(self._armed) >= AHEAD_MAX:
            self._armed.pop(next(iter(self._armed)), None)
        if known := sorted(self._known.copy().keys() - self._armed.keys()):
            least = min(self._times[place] for place in known)
            place = self._chance.choice([place for place in known if self._times[place] == least])
            self._armed[place] = self._chance.choice((*ERRORS, "cancel") if self._known[place] else ERRORS)

    def reach(self, place: str, *, in_task: bool = False) -> None:
        """Pass a place: raise the error, or cancel the present task, if it is armed."""
        if not self._on:
            return
        if place not in self._known:
            self._known[place] = in_task
        action = self._armed.pop(place, None) if self._armed else None
        if action is not None:
            self._fire(place, action)

    def _fire(self, place: str, action: Action) -> None:
        task = asyncio.current_task() if self._known[place] else None
        name = re.sub(r"^Task-\d+$", "", task.get_name()) if task else threading.current_thread().name
        self._times[place] += 1
        line = {"at": time.time(), "place": place, "action": action, "in": name}
        _write(self._fired, json.dumps(line).encode() + b"\n")
        if action == "cancel":
            assert task is not None
            task.cancel()
        elif action == "OSError":
            raise OSError(errno.EIO, "failpoint")
        else:
            raise {"MemoryError": MemoryError, "RuntimeError": RuntimeError}[action]("failpoint")
