"""A lock file that is removed at the end never lets two holders in."""

import threading

from colabkit._internal.disk.files import FileLock


def test_a_removed_lock_file_leaves_nothing_behind(tmp_path):
    """release(remove=True) deletes the file, and the lock can be taken again."""
    path = tmp_path / "lock"
    lock = FileLock(path)
    assert lock.acquire() is None
    lock.release(remove=True)
    assert not path.exists()
    assert lock.acquire() is None
    lock.release(remove=True)


def test_holders_that_remove_the_file_still_exclude_each_other(tmp_path):
    """Eight threads take and remove it hundreds of times; never two at once."""
    path = tmp_path / "lock"
    inside, worst, rounds = [0], [0], [0]
    count = threading.Lock()

    def work():
        for _ in range(200):
            lock = FileLock(path)
            if lock.acquire() is not None:
                continue
            with count:
                inside[0] += 1
                rounds[0] += 1
                worst[0] = max(worst[0], inside[0])
            with count:
                inside[0] -= 1
            lock.release(remove=True)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst[0] == 1
    assert rounds[0] > 8
