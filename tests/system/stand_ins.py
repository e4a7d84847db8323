"""Images that stand for those of registries, made of Debian's programs and the tests' own ClickHouse.

Each does what docker/compose.yaml asks of the image that it stands for, except what is said here: ClickHouse has no
password, and Grafana does nothing.
"""

import shutil
from pathlib import Path
from typing import Final

from tests.clickhouse import LIBRARY
from tests.paths import ROOT
from tests.system.engine import BASE, Engine

_WGET: Final = """#!/usr/bin/python3
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[-1]).read())
"""
_DOCKERFILE: Final = f"""
FROM {BASE} AS programs
RUN apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends nginx-light prometheus

FROM programs AS nginx
RUN rm -rf /var/lib/nginx && ln -s /var/cache/nginx /var/lib/nginx
CMD ["nginx", "-e", "stderr", "-g", "daemon off;"]

FROM programs AS prometheus
RUN install -d -o nobody -g nogroup /prometheus
USER nobody
ENTRYPOINT ["prometheus"]

FROM {BASE} AS grafana
CMD ["sleep", "3600"]

FROM {BASE} AS clickhouse
COPY clickhouse.py libchdb.so wget /opt/
RUN mkdir -p /opt/node_modules/@chdb/lib-linux-x64-gnu && install /opt/wget /usr/local/bin/wget \\
    && mv /opt/libchdb.so /opt/node_modules/@chdb/lib-linux-x64-gnu/
CMD ["python3", "/opt/clickhouse.py", "/var/lib/clickhouse", "9000", "8123", "--", "--listen_host=0.0.0.0"]
"""


def build(engine: Engine, images: dict[str, str], directory: Path) -> None:
    """Build them under the names that the composition has: ``images`` by service."""
    shutil.copy(ROOT / "tests" / "clickhouse.py", directory)
    shutil.copy(LIBRARY, directory)
    (directory / "wget").write_text(_WGET)
    (directory / "Dockerfile").write_text(_DOCKERFILE)
    for service in ("nginx", "prometheus", "grafana", "clickhouse"):
        options = ("--quiet", "--network", "host", "--target", service, "--tag", images[service])
        engine("build", *options, directory, timeout_s=600)
