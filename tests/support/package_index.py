"""A real package index on 127.0.0.1 with wheels of a few lines, and Python environments to install them into."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from pathlib import Path

import packaging

import colabkit
from tests.support.kernels import find_uv

CALL = """
import json, sys
from colabkit.errors import ColabKitError
from colabkit.packages import install
started = []
sys.addaudithook(lambda event, args: started.append(args[0]) if event == "subprocess.Popen" else None)
for line in json.loads(sys.argv[3]):
    exec(line)
try:
    said = install(*json.loads(sys.argv[1]), **json.loads(sys.argv[2])).as_dict()
except ColabKitError as error:
    said = {"error": type(error).__name__, "what": error.what, "why": error.why, "do": error.do}
print(json.dumps({**said, "started": len(started)}))
"""


def write_wheel(folder, name, version, *, requires=(), python="", tag="py3-none-any", files=None):
    """Write a wheel; by default its one module says its version, in a constant and in a function."""
    module = name.replace("-", "_")
    content = files or {
        f"{module}/__init__.py": f'__version__ = "{version}"\n\n\ndef version():\n    return "{version}"\n'
    }
    info = f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Python: {python}\n" if python else ""
    metadata += "".join(f"Requires-Dist: {text}\n" for text in requires) + "\nA package of the tests.\n"
    content = {
        **content,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text)}" for path, text in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    path = Path(folder, f"{module}-{version}-{tag}.whl")
    with zipfile.ZipFile(path, "w") as wheel:
        for name_inside, text in content.items():
            wheel.writestr(name_inside, text)
    return path


BACKEND = """
import pathlib, shutil
wheel = next(pathlib.Path(__file__).parent.glob("*.whl"))
with open({mark!r}, "a") as file:
    file.write("code ran\\n")
def build_wheel(folder, config_settings=None, metadata_directory=None):
    return pathlib.Path(shutil.copy(wheel, folder)).name
build_editable = build_wheel
"""


def write_source(folder, name, version, mark, *, requires=()):
    """Write the source code of a package, which notes in a file that it ran; return the folder and its archive."""
    root = Path(folder, f"{name}-{version}")
    root.mkdir()
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (root / "pyproject.toml").write_text(f'{system}[project]\nname = "{name}"\ndynamic = ["version", "dependencies"]\n')
    (root / "backend.py").write_text(BACKEND.format(mark=str(mark)))
    write_wheel(root, name, version, requires=requires)
    (root / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    archive = Path(folder, f"{name}-{version}.tar.gz")
    with tarfile.open(archive, "w:gz") as out:
        out.add(root, root.name)
    return root, archive


def _digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@contextmanager
def serve(folder, before_wheel=lambda: None):
    """Serve a folder of wheels as a simple index (PEP 503), and call something before a wheel; yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            parts = self.path.strip("/").split("/")
            if parts[0] == "files" and (folder / parts[-1]).is_file():
                before_wheel()
                self.answer((folder / parts[-1]).read_bytes(), "application/octet-stream")
            elif parts[0] == "simple" and len(parts) > 1 and (found := wheels_of(parts[1])):
                links = "".join(f'<a href="/files/{path.name}"{python_of(path)}>{path.name}</a>\n' for path in found)
                self.answer(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html")
            else:
                self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 - the standard library's spelling

        def answer(self, body, kind):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *args):
            """Keep silent."""

    def wheels_of(name):
        return [path for path in sorted(folder.glob("*.whl")) if path.name.split("-")[0] == name.replace("-", "_")]

    def python_of(path):
        with zipfile.ZipFile(path) as wheel:
            text = next(wheel.read(name).decode() for name in wheel.namelist() if name.endswith("METADATA"))
        found = re.search(r"Requires-Python: (.+)", text)
        return f' data-requires-python="{found[1].replace(">", "&gt;").replace("<", "&lt;")}"' if found else ""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def put(folder, name, version, requires=(), direct_url=None):
    """Write the metadata of a distribution as an installer leaves it."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    fields = "".join(f"Requires-Dist: {text}\n" for text in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{fields}\nText.\n")
    if direct_url:
        (info / "direct_url.json").write_text(direct_url)


def colabkit_alone(folder):
    """Make a folder that holds this colabkit and `packaging` and nothing else of the test's environment."""
    folder.mkdir(exist_ok=True)
    for module in (colabkit, packaging):
        source = Path(module.__file__).parent
        (folder / source.name).symlink_to(source)
    return folder


class Environment:
    """A Python of its own whose packages a test changes by colabkit, and looks at from outside.

    Args:
        path: The folder of the virtual environment.
        modules: The folder that holds colabkit.
        index: The address of the package index.
        installer: "uv" or "pip": which one can be had.
        work: A folder for the index-dependent caches.
    """

    def __init__(self, path, *, modules, index, installer, work):
        self.path = path
        self.python = path / "bin" / "python"
        self.index = index
        self.installer = installer
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
        self.env |= {
            "PYTHONPATH": str(modules),
            "PATH": "/usr/bin:/bin",
            "UV_CACHE_DIR": str(work / "uv-cache"),
            "UV_HTTP_RETRIES": "0",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_CACHE_DIR": str(work / "pip-cache"),
        }
        if installer == "uv":
            (work / "bin").mkdir(exist_ok=True)
            uv = work / "bin" / "uv"
            if not uv.exists():
                uv.symlink_to(find_uv())
            self.env["PATH"] = f"{work / 'bin'}:{self.env['PATH']}"

    def have(self, *requirements):
        """Install by uv, past colabkit."""
        command = [find_uv(), "pip", "install", "-q", "--python", self.python, "--default-index", self.index]
        env = {**self.env, "UV_CONSTRAINT": ""}
        subprocess.run([*command, *requirements], check=True, env=env)

    def install(self, *requirements, before=(), prefix=(), **options):
        """Run our install in a new process of this environment; return its report or its error as plain values."""
        options = {"index_url": self.index} | options
        arguments = [json.dumps(requirements), json.dumps(options), json.dumps(before)]
        return json.loads(self.run("-c", CALL, *arguments, prefix=prefix).splitlines()[-1])

    def run(self, *arguments, prefix=()):
        """Run this environment's Python; return what it printed."""
        command = [*prefix, self.python, *arguments]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120, cwd=self.path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def freeze(self):
        """Return every installed package with its version, as uv sees it, and every file with its size."""
        command = [find_uv(), "pip", "freeze", "--python", self.python]
        names = subprocess.run(command, check=True, env=self.env, capture_output=True, text=True).stdout.split("\n")
        site = next((self.path / "lib").glob("python*/site-packages"))
        files = {
            str(path): path.stat().st_size
            for path in site.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        return names, files


def copy_environment(template, target):
    """Copy a virtual environment; its Python finds itself by where it is started from."""
    shutil.copytree(template, target, symlinks=True)
    return target
