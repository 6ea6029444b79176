"""A frontend in one process: it runs a list of steps against a kernel and prints what came back, as JSON.

Started with the Python of a kernel set: python frontend_double.py STEPS. A step is a list:
["run", code, answer] runs a cell and answers its prompt; ["queue", code, …] sends cells at once and awaits them all;
["interrupt", code] interrupts a running cell; ["comm", target] opens a comm, as a widget does; ["restart"] restarts the
kernel as a server does on request; ["revive", code] runs a cell that ends the kernel and starts it again, as a server
does when a kernel has died.
"""

from __future__ import annotations

import contextlib
import json
import queue
import sys
import time

PATIENCE = 90


class Frontend:
    """What a browser does."""

    def __init__(self):
        from jupyter_client.manager import KernelManager

        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.connect()

    def connect(self):
        """Open the channels and wait until the kernel answers."""
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def run(self, code, answer=None, *, interrupt=False):
        """Run a cell as a browser does, with prompts allowed."""
        return self.collect([self.send(code)], answer=answer, interrupt=interrupt)[0]

    def queue(self, *codes):
        """Run all."""
        return self.collect([self.send(code) for code in codes])

    def send(self, code):
        """Send a cell; return the id of the request."""
        return self.client.execute(code, allow_stdin=True)

    def collect(self, requests, *, answer=None, interrupt=False):
        """Wait until every request is idle again; return the text of each, errors included."""
        said = dict.fromkeys(requests, "")
        open_ones = set(requests)
        until = time.monotonic() + PATIENCE
        while open_ones and time.monotonic() < until:
            if answer is not None:
                with contextlib.suppress(queue.Empty):
                    said[requests[0]] += self.client.get_stdin_msg(timeout=0.05)["content"]["prompt"]
                    self.client.input(answer)
            try:
                message = self.client.get_iopub_msg(timeout=0.2)
            except queue.Empty:
                continue
            request = message["parent_header"].get("msg_id")
            content, kind = message["content"], message["msg_type"]
            if request not in said:
                continue
            if kind == "stream":
                said[request] += content["text"]
                if interrupt and "running" in said[request]:
                    self.manager.interrupt_kernel()
                    interrupt = False
            elif kind == "error":
                said[request] += f"{content['ename']}: {content['evalue']}"
            elif kind == "status" and content["execution_state"] == "idle":
                open_ones.discard(request)
        return [said[request] for request in requests] if not open_ones else ["never ended"] * len(requests)

    def comm(self, target):
        """Open a comm and wait until the kernel has dealt with it."""
        content = {"comm_id": "test", "target_name": target, "data": {}}
        message = self.client.session.msg("comm_open", content)
        self.client.shell_channel.send(message)
        return self.collect([message["header"]["msg_id"]])[0]

    def restart(self):
        """The menu's restart."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self.client = self.manager.client()
        self.connect()

    def revive(self, code):
        """Run a cell that ends the kernel; start it again for the same connection file."""
        self.send(code)
        until = time.monotonic() + PATIENCE
        while self.manager.is_alive() and time.monotonic() < until:
            time.sleep(0.05)
        died = not self.manager.is_alive()
        self.restart()
        return died


def main(steps):
    """Run the steps and print what came back."""
    frontend = Frontend()
    try:
        found = []
        for verb, *words in steps:
            if verb == "interrupt":
                found.append(frontend.run(*words, interrupt=True))
            else:
                found.append(getattr(frontend, verb)(*words))
        sys.stdout.write(json.dumps(found) + "\n")
    finally:
        frontend.client.stop_channels()
        frontend.manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
