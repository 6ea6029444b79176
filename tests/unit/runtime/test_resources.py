"""Limits read from control groups of both versions, laid out as the kernel shows them."""

from __future__ import annotations

import os

import pytest

from colabkit.runtime import resources

GIB = 1024**3
CORES = len(os.sched_getaffinity(0))
MEMINFO = "MemTotal:       13290480 kB\nMemFree:         8000000 kB\nMemAvailable:   12000000 kB\n"

V1_MOUNTS = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "36 31 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
)
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"


def lay(root, files):
    """Lay files out under a root folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_version_2_limits(tmp_path):
    """Half a core by cpu.max and 2 GiB by memory.max are what counts, not the machine's."""
    root = lay(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": V2_MOUNTS,
            "sys/fs/cgroup/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
            "sys/fs/cgroup/memory.current": f"{GIB}\n",
            "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GIB // 2}\n",
        },
    )
    assert resources.cpus(root) == 0.5
    assert resources.memory(root) == resources.Memory(total=2 * GIB, available=GIB + GIB // 2)


def test_version_1_limits(tmp_path):
    """Version 1 keeps one folder a controller, and the limit sits in our own group."""
    root = lay(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n",
            "proc/self/mountinfo": V1_MOUNTS,
            "sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "25000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/docker/ab/memory.usage_in_bytes": f"{GIB // 4}\n",
        },
    )
    assert resources.cpus(root) == 0.25
    assert resources.memory(root) == resources.Memory(total=GIB, available=GIB * 3 // 4)


def test_the_lowest_limit_of_the_hierarchy_counts(tmp_path):
    """A group can be allowed more than its parent has; the parent's limit still holds."""
    root = lay(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/user/session\n",
            "proc/self/mountinfo": V2_MOUNTS,
            "sys/fs/cgroup/user/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/user/session/memory.max": f"{4 * GIB}\n",
        },
    )
    assert resources.memory(root).total == GIB


@pytest.mark.parametrize("path", ["/kubepods/pod1/c1", "/../../other", "/"])
def test_a_path_the_container_cannot_see(tmp_path, path):
    """A container may be told its path on the host, of which it sees nothing: the mount's root is its own group."""
    root = lay(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": f"0::{path}\n",
            "proc/self/mountinfo": V2_MOUNTS,
            "sys/fs/cgroup/cpu.max": "10000 100000\n",
            "sys/fs/cgroup/memory.max": f"{GIB}\n",
        },
    )
    assert resources.cpus(root) == 0.1
    assert resources.memory(root).total == GIB


def test_a_part_of_the_tree_is_mounted(tmp_path):
    """Docker with version 1 mounts the container's own folder: the path under that folder is what remains."""
    root = lay(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "4:memory:/docker/ab/inner\n",
            "proc/self/mountinfo": "36 31 0:33 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            "sys/fs/cgroup/memory/inner/memory.limit_in_bytes": f"{GIB}\n",
        },
    )
    assert resources.memory(root).total == GIB


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/meminfo": MEMINFO},
        {"proc/self/cgroup": "nonsense\n::\n", "proc/self/mountinfo": "- cgroup\nx - cgroup2\n"},
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": V2_MOUNTS,
            "sys/fs/cgroup/cpu.max": "max 100000\n",
            "sys/fs/cgroup/memory.max": "max\n",
        },
        {
            "proc/self/cgroup": "3:cpu:/\n",
            "proc/self/mountinfo": "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "0\n",
        },
    ],
)
def test_no_limit(tmp_path, files):
    """Without a limit, with files that are missing or not understood, the machine's own figures are told."""
    root = lay(tmp_path, files)
    assert resources.cpus(root) == CORES
    assert resources.memory(root).total > 0


def test_affinity_counts():
    """A process that is bound to one core has one core."""
    import subprocess
    import sys

    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from colabkit.runtime import resources; print(resources.cpus())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) <= 1


def test_real_machine(tmp_path):
    """On this machine the figures agree with the system's own."""
    found = resources.memory()
    assert 0 < found.available <= found.total <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = resources.disk(tmp_path)
    assert 0 <= disk.free <= disk.total
    assert resources.disk(tmp_path / "absent") is None


def test_age_of_process_1(tmp_path):
    """The age is uptime less the start of process 1, whatever its name holds; without the files it is unknown."""
    ticks = os.sysconf("SC_CLK_TCK")
    stat = "1 (a (nasty) name) S " + "0 " * 18 + f"{40 * ticks} 0\n"
    root = lay(tmp_path, {"proc/1/stat": stat, "proc/uptime": "100.50 3\n"})
    assert resources.container_age(root) == pytest.approx(60.5)
    assert resources.container_age(tmp_path / "absent") is None
