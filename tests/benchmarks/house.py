"""The figures of the house: layers, circles, sizes, and how far it is from `fetch` to the disk.

python tests/benchmarks/house.py            a table
python tests/benchmarks/house.py --circles  and the modules of each import circle
"""

from __future__ import annotations

import ast
import collections
import http.server
import os
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
import colabkit  # noqa: E402

PACKAGE = Path(colabkit.__file__).parent  # beside the tests, or the installed wheel


def modules() -> dict[str, Path]:
    """Return each module of the package and its file; the stand-ins for google.colab are not ours to shape."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "doubles" in path.parts:
            continue
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(known: dict[str, Path]) -> dict[str, set[str]]:
    """Return which modules each one imports, at any place in it."""
    graph = {}
    for name, path in known.items():
        targets = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("colabkit"):
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    targets.add(full if full in known else node.module)
            elif isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names if alias.name.startswith("colabkit")}
        graph[name] = {target for target in targets if target in known and target != name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected parts of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    parts = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            at = stack.index(name)
            if len(part := stack[at:]) > 1:
                parts.append(sorted(part))
            del stack[at:]

    sys.setrecursionlimit(10_000)
    for name in graph:
        if name not in index:
            visit(name)
    return parts


def private_imports(known: dict[str, Path]) -> int:
    """Count the imports of a module with an underscore from another package's public part."""
    count = 0
    for name, path in known.items():
        package = name.rpartition(".")[0] if path.name != "__init__.py" else name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("colabkit."):
                parts = [*node.module.split("."), *(alias.name for alias in node.names)]
                inner = [part for part in parts[2:] if part.startswith("_") and not part.startswith("__")]
                count += bool(inner and not node.module.startswith(package))
    return count


def classes(known: dict[str, Path]) -> list[tuple[int, int, str]]:
    """Return each class with its lines and the attributes that it sets on itself, the largest first."""
    rows = []
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                stored = [item for item in ast.walk(node) if isinstance(item, ast.Attribute)]
                attributes = {
                    item.attr
                    for item in stored
                    if isinstance(item.ctx, ast.Store) and isinstance(item.value, ast.Name) and item.value.id == "self"
                }
                rows.append(((node.end_lineno or 0) - node.lineno + 1, len(attributes), f"{name}.{node.name}"))
    return sorted(rows, reverse=True)


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"7,0,0\n" * 1000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' own name
        pass


def walk_of_a_fetch() -> tuple[int, int]:
    """Fetch a small file from loopback; return the functions and the files of ours that this entered."""
    import colabkit as ck

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    entered: set[tuple[str, str]] = set()

    def watch(frame: object, event: str, _: object) -> None:
        code = frame.f_code  # type: ignore[attr-defined]
        if event == "call" and str(PACKAGE) in code.co_filename and "<" not in code.co_name:
            entered.add((code.co_filename, code.co_qualname))

    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        ck.fetch(f"http://127.0.0.1:{server.server_port}/warm.csv", f"{folder}/warm.csv")
        threading.setprofile(watch)
        sys.setprofile(watch)
        try:
            ck.fetch(f"http://127.0.0.1:{server.server_port}/digits.csv", f"{folder}/digits.csv")
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
    server.shutdown()
    return len(entered), len({path for path, _ in entered})


def milliseconds(*arguments: str) -> float:
    """Return the median time of a command beyond that of an interpreter that does nothing."""

    def median(command: list[str]) -> float:
        times = []
        for _ in range(11):
            begin = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
            times.append(time.perf_counter() - begin)
        return sorted(times)[5]

    return 1000 * (median([sys.executable, *arguments]) - median([sys.executable, "-c", "pass"]))


def main() -> None:
    """Print the table."""
    known = modules()
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    rings = [ring for ring in circles(imports(known)) if not ring[0].startswith("colabkit.testing")]
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in known.items()}
    crowd = collections.Counter(path.parent for path in known.values())
    folder, files = crowd.most_common(1)[0]
    largest = classes(known)
    widest = max(largest, key=lambda row: row[1])
    functions, entered = walk_of_a_fetch()
    rows = [
        ("exceptions in the contract of layers", sum(len(one.get("ignore_imports", ())) for one in contract), "0"),
        ("import circles outside colabkit.testing", len(rings), "0"),
        ("imports of private modules across packages", private_imports(known), "0"),
        ("files", len(known), "210"),
        ("lines", sum(lines.values()), "37,000"),
        ("lines of transfer/", sum(n for name, n in lines.items() if name.startswith("colabkit.transfer")), "3,500"),
        (f"most files in one folder ({folder.relative_to(ROOT)})", files, "14"),
        (f"lines of the longest class ({largest[0][2]})", largest[0][0], "250"),
        (f"attributes of the widest class ({widest[2]})", widest[1], "15"),
        ("functions that fetch(url, to) enters", functions, "45"),
        ("files that fetch(url, to) enters", entered, "9"),
        ("import colabkit, ms beyond a bare interpreter", f"{milliseconds('-c', 'import colabkit'):.1f}", "as before"),
        ("colabkit --help, ms beyond", f"{milliseconds('-m', 'colabkit', '--help'):.1f}", "as before"),
        ("colabkit detect --json, ms beyond", f"{milliseconds('-m', 'colabkit', 'detect', '--json'):.1f}", "as before"),
    ]
    width = max(len(name) for name, _, _ in rows)
    print(f"{'':{width}}  {'now':>10}  {'target':>10}")
    for name, value, target in rows:
        print(f"{name:{width}}  {value if isinstance(value, str) else format(value, ','):>10}  {target:>10}")
    if "--circles" in sys.argv:
        for ring in rings:
            print(*ring, sep=" ")


if __name__ == "__main__":
    main()
