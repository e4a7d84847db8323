"""What a process sees that uses `shards` and configures no structlog."""

import subprocess
import sys

from tests.paths import ROOT

SAYS = """
import logging
from shards.logger import get_logger

log = get_logger("shards.some.part")
log.info("too quiet by default", shard=1)
log.warning("rows sent again", shard=1, rows=12)
logging.basicConfig(format="%(levelname)s %(name)s %(message)s", level="INFO")
log.info("rows sent again", shard=2)
"""


def test_without_structlog_configured_lines_go_where_those_of_logging_go() -> None:
    ran = subprocess.run([sys.executable, "-c", SAYS], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout == ""
    first, second = ran.stderr.splitlines()
    assert "rows sent again" in first
    assert "rows=12 shard=1" in first
    assert second.startswith("INFO shards.some.part ")
    assert "shard=2" in second
