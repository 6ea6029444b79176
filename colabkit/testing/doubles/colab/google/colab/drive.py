"""Drive, mounted by a program of its own: what is asked, in which order, what is printed and raised."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pexpect
from google.colab import _machine, _message, output

__all__ = ["flush_and_unmount", "mount"]

_WATCH = 0.5
_EXTRA = float(os.environ.get("FAKE_COLAB_EXTRA", "30"))
_STOPPED = "Drive File Stream encountered a problem and has stopped"
_POLICY = "The domain policy has disabled Drive File Stream"


def mount(mountpoint: str, force_remount: bool = False, timeout_ms: int = 120000, readonly: bool = False) -> None:
    """Mount the user's Drive; the frontend is asked first, whether or not it is mounted already."""
    if not _machine.has("/var/colab/hostname"):
        raise NotImplementedError("Mounting drive is unsupported in this environment. Use PyDrive2 instead.")
    if " " in mountpoint:
        raise ValueError("Mountpoint must not contain a space.")
    if _machine.is_enterprise():
        raise NotImplementedError("google.colab.drive.mount is not supported in Colab Enterprise.")
    credentials = os.environ["TBE_EPHEM_CREDS_ADDR"]
    body = {"authType": "dfs_ephemeral"}
    _message.blocking_request("request_auth", request=body, timeout_sec=int(timeout_ms / 1000))  # None is let pass
    mountpoint = os.path.expanduser(mountpoint)
    if not force_remount and Path(mountpoint, "My Drive").is_dir():
        print(
            f"Drive already mounted at {mountpoint}; to attempt to forcibly remount, "
            f'call drive.mount("{mountpoint}", force_remount=True).'
        )
        return
    _take_away(mountpoint)
    _check(mountpoint)
    _start(mountpoint, credentials, timeout_ms, readonly)
    output.clear(wait=True, output_tags="dfs-auth-dance")
    print(f"Mounted at {mountpoint}")


def flush_and_unmount(timeout_ms: int = 24 * 60 * 60 * 1000) -> None:
    """Upload what is pending and unmount."""
    if _machine.has("/var/colab/mp"):
        raise NotImplementedError(f"{__name__} is unsupported in this environment.")
    if not any(" fuse.drive " in line and str(_machine.ROOT) in line for line in _mounts()):
        print("Drive not mounted, so nothing to flush and unmount.")
        return
    words = [_program(), "--push_changes_and_quit", "--single_process", f"--timeout_sec={int(timeout_ms / 1000)}"]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        raise ValueError("flush_and_unmount failed")


def _mounts() -> list[str]:
    return Path("/proc/mounts").read_text().splitlines()


def _program() -> str:
    root = os.path.realpath(os.path.join(os.environ["CLOUDSDK_CONFIG"], "../.."))
    return os.path.join(root, "opt/google/drive/drive")


def _take_away(mountpoint: str) -> None:
    # Not lazily: where a process has its working folder in the mount, it stays, and is dead once its program is killed.
    ways = (["umount", "-f"], ["umount"]) if os.geteuid() == 0 else (["fusermount3", "-u", "-q"],)
    # umount takes the path for the source of another mount, where none is mounted at it: "drive", seen from /content.
    place = os.path.abspath(mountpoint).replace("\\", r"\134").replace(" ", r"\040")
    for words in ways if any(line.split()[1] == place for line in _mounts()) else ():
        if subprocess.run([*words, mountpoint], check=False, capture_output=True).returncode == 0:
            break
    # The real one runs `pkill -9 -x drive`, which would end those of other machines of this double.
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(Path(os.environ["COLABKIT_DRIVE_STATE"], "pid").read_text()), signal.SIGKILL)


def _check(mountpoint: str) -> None:
    if os.path.islink(mountpoint):
        raise ValueError("Mountpoint must not be a symlink")
    if os.path.isdir(mountpoint) and os.listdir(mountpoint):
        raise ValueError("Mountpoint must not already contain files")
    if not os.path.isdir(mountpoint) and os.path.exists(mountpoint):
        raise ValueError("Mountpoint must either be a directory or not exist")
    normal = os.path.normpath(mountpoint)
    if "/" in normal and not os.path.exists(os.path.dirname(normal)):
        raise ValueError("Mountpoint must be in a directory that exists")


def _start(mountpoint: str, credentials: str, timeout_ms: int, readonly: bool) -> None:
    features = (
        f"opendir_timeout_ms:{timeout_ms},virtual_folders_omit_spaces:true,read_only_mode:{str(readonly).lower()}"
    )
    words = [
        _program(),
        f"--features={features}",
        f"--metadata_server_auth_uri={credentials}/computeMetadata/v1",
        f"--preferences=mount_point_path:{mountpoint}",
    ]
    output = Path(os.environ["COLABKIT_DRIVE_STATE"], "daemon.txt")
    with open(output, "wb") as out:
        daemon = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + timeout_ms / 1000 + _EXTRA
    while time.monotonic() < until:
        time.sleep(_WATCH)
        with contextlib.suppress(OSError):
            if os.listdir(mountpoint):
                return
        text = output.read_text(errors="replace")
        if _POLICY in text:
            daemon.kill()
            raise ValueError(f"{_POLICY}: https://support.google.com/a/answer/7496409")
        if _STOPPED in text or (daemon.poll() is not None and not _unseen()):
            raise ValueError("mount failed" + _reason())
    daemon.kill()
    raise pexpect.TIMEOUT("Timeout exceeded.")


def _unseen() -> bool:
    """Whether the program ended before its shell's next prompt: google.colab misses that, and waits to the end."""
    return Path(os.environ["COLABKIT_DRIVE_STATE"], "unseen").exists()


def _reason() -> str:
    log = Path(os.environ["HOME"], ".config/Google/DriveFS/Logs/drive_fs.txt")
    if log.exists() and "QueryManager timed out" in log.read_text(errors="replace"):
        return (
            ": timeout during initial read of root folder; for more info: "
            "https://research.google.com/colaboratory/faq.html#drive-timeout"
        )
    return ""
