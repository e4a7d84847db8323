"""``python -m tests.faults.inside COMMAND``: ``fanfinity COMMAND``, with failpoints or another quiet time."""

import os
import random
from pathlib import Path

from app.__main__ import main
from app.engagement import clock
from tests.faults.inside.failpoints import Failpoints
from tests.faults.inside.places import install

if directory := os.environ.get("FAULTS_FAILPOINTS"):
    seed, every_s = os.environ["FAULTS_FAILPOINTS_SEED"], float(os.environ["FAULTS_FAILPOINTS_EVERY_S"])
    failpoints = Failpoints(Path(directory), random.Random(seed), every_s)
    install(failpoints, only=os.environ.get("FAULTS_FAILPOINTS_ONLY", ""))
    failpoints.start()

if quiet_ms := int(os.environ.get("FAULTS_QUIET_MS", "0")):
    clock.QUIET_MS = clock.QUIET_SPARSE_MS = quiet_ms

main(prog_name="fanfinity")
