"""Read every state of a run."""

from __future__ import annotations

from colabkit.checkpoint.format import naming
from colabkit.checkpoint.mirror import remote_store
from colabkit.storage import open_storage


def whole_states(folder, mirror):
    """Read all states of a run, here and in its mirror; gives their steps."""
    here = naming.candidates(folder / naming.FOLDER)
    there = remote_store.candidates(open_storage(mirror), folder.with_name("fresh"), tries=0)
    return [[candidate.load().meta["step"] for candidate in place] for place in (here, there)]
