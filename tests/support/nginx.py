"""Debian's nginx on this machine, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from colabkit._internal.process.ports import free_ports

NGINX = shutil.which("nginx") or next((path for path in ("/usr/sbin/nginx",) if Path(path).exists()), None)
WHY_NOT = "nginx is not installed; run: apt-get install nginx-light"


@contextlib.contextmanager
def nginx(folder: Path, files: Path, locations: str):
    """Run nginx and yield its address.

    Args:
        folder: For its configuration and logs.
        files: What it serves as `$files`.
        locations: Its location blocks; `FILES` stands for the folder of the files.
    """
    port = free_ports(1)[0]
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration.write_text(
        f"daemon off; master_process off; {user} pid {folder}/pid; error_log {folder}/error.log;\n"
        "events { worker_connections 256; }\n"
        f"http {{ access_log {folder}/access.log; sendfile on; tcp_nodelay on; {temporary}\n"
        "limit_conn_zone $server_name zone=few:1m;\n"
        f"server {{ listen 127.0.0.1:{port} backlog=256; server_name tests; root {files};\n"
        f"{locations.replace('FILES', str(files))}\n}} }}\n"
    )
    process = subprocess.Popen([NGINX, "-e", folder / "error.log", "-c", configuration], stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(process.stderr.read().decode() if process.poll() is not None else "nginx hangs")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=10)
