"""Files between the machine and the browser's: both through the page, in pieces."""

import base64
import json
import os
import uuid
from typing import Any

import IPython
from google.colab import output
from IPython import display

__all__ = ["download", "upload", "upload_file", "view"]

_PIECE = 1 << 20
_DIALOG = """<input type="file" id="{input}" name="files[]" {multiple} disabled style="border:none" />
<output id="{output}">Upload widget is only available when the cell has been executed in the current browser session.
Please rerun this cell to enable.</output>"""
_VIEW = "((filepath) => { if (google.colab.kernel.accessAllowed) google.colab.files.view(filepath); })"
_DOWNLOAD = """async function download(id, filename, size) {
  if (!google.colab.kernel.accessAllowed) return;
  const pieces = [];
  const channel = await google.colab.kernel.comms.open(id);
  channel.send({});
  for await (const message of channel.messages) {
    channel.send({});
    pieces.push(...(message.buffers || []));
  }
  const href = URL.createObjectURL(new Blob(pieces, {type: 'application/binary'}));
  Object.assign(document.createElement('a'), {href, download: filename}).click();
}"""


def upload(target_dir: str = "") -> dict[str, bytes]:
    """Let the user choose files and write them here; a name that is taken gets a number. Waits until then."""
    chosen = _choose(multiple=True)
    if target_dir:
        os.makedirs(target_dir, exist_ok=True)
    written = {}
    for name, data in chosen.items():
        place = _free(os.path.join(target_dir, name))
        print(f"Saving {name} to {place}")
        with open(place, "wb") as file:
            file.write(data)
        written[place] = data
    return written


def upload_file(filename: str) -> None:
    """Let the user choose one file and write it under this name."""
    chosen = _choose(multiple=False)
    if not chosen:
        raise ValueError("File has not been uploaded")
    if len(chosen) > 1:
        raise ValueError("Multiple files received, please upload a single file")
    name, data = next(iter(chosen.items()))
    with open(filename, "wb") as file:
        file.write(data)
    print(f"Saved {name} to {os.getcwd()}/{filename}")


def download(filename: str) -> None:
    """Hand a file to the browser, which asks for piece after piece when the cell has ended."""
    if not os.path.exists(filename):
        raise FileNotFoundError(f"Cannot find file: {filename}")
    shell: Any = IPython.get_ipython()
    comms, target = shell.kernel.comm_manager, f"download_{uuid.uuid4()}"

    def opened(comm: Any, _: Any) -> None:
        file = open(filename, "rb")  # noqa: SIM115 - it is read from when the page asks

        def send_piece(_: Any) -> None:
            if piece := file.read(_PIECE):
                comm.send({}, None, [piece])
            else:
                comm.close()
                file.close()
                comms.unregister_target(target, opened)

        comm.on_msg(send_piece)

    comms.register_target(target, opened)
    words = ", ".join(map(json.dumps, (target, os.path.basename(filename), os.path.getsize(filename))))
    display.display(display.Javascript(_DOWNLOAD))
    display.display(display.Javascript(f"download({words})"))


def view(filepath: str) -> None:
    """Open a file in Colab's viewer, or a folder in its file browser."""
    if not os.path.exists(filepath):
        raise FileNotFoundError(f"Cannot find file: {filepath}")
    path = os.path.abspath(filepath).removeprefix(os.environ.get("DATALAB_ROOT", ""))
    display.display(display.Javascript(f"{_VIEW}({json.dumps(path)})"))


def _choose(*, multiple: bool) -> dict[str, bytes]:
    number = uuid.uuid4()
    names = {"input": f"files-{number}", "output": f"result-{number}"}
    display.display(display.HTML(_DIALOG.format(multiple="multiple" if multiple else "", **names)))
    result = output.eval_js(f'google.colab._files._uploadFiles("{names["input"]}", "{names["output"]}")')
    chosen: dict[str, bytes] = {}
    while result["action"] != "complete":
        result = output.eval_js(f'google.colab._files._uploadFilesContinue("{names["output"]}")')
        if result["action"] == "append":
            chosen[result["file"]] = chosen.get(result["file"], b"") + base64.b64decode(result["data"])
    return chosen


def _free(path: str) -> str:
    place, number = path, 0
    while os.path.lexists(place):
        number += 1
        start, ending = os.path.splitext(path)
        place = f"{start} ({number}){ending}"
    return place
