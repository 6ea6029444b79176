"""What a page of Jupyter shows to choose files, and its script, which sends them through the server to the disk.

The kernel is busy in the cell meanwhile, so that no message of the page would reach it: all that they tell each other
are files in a folder that both see. The script asks as JupyterLab's own file browser does, in the same pieces.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

HELLO = "page.txt"
"""Written when the page shows the dialog, and again and again while it does."""

CHOSEN = "chosen.json"
"""Written last: the names and sizes of the files, which are called 0, 1, …; or that there are none, or why."""

BEAT = 10
"""Seconds from one sign of life to the next."""

_HTML = """<div id="{id}" style="display:none; font-size:13px; gap:8px; align-items:center; padding:4px 0">
<label>Files for this cell: <input type="file" {multiple}></label>
<button type="button">Cancel</button>
<progress max="1" value="0" style="display:none"></progress>
<span role="status"></span>
</div>
<script>({script})({settings})</script>"""

_SCRIPT = """(async settings => {
  const {id, folder, hello, chosen, beat, piece} = settings;
  const wait = ms => new Promise(resolve => setTimeout(resolve, ms));
  let root = null;
  for (let tries = 0; !(root = document.getElementById(id)) && tries < 100; tries++) await wait(50);
  const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent || "{}");
  const base = config.baseUrl || document.body.dataset.baseUrl;
  if (!root || !base) return;
  const headers = {"Content-Type": "application/json"};
  const cookie = document.cookie.match("\\\\b_xsrf=([^;]*)\\\\b");
  if (cookie) headers["X-XSRFToken"] = cookie[1];
  if (config.token) headers["Authorization"] = `token ${config.token}`;
  const address = name => new URL(`api/contents/${folder}/${name}`, new URL(base, location.href));
  const put = async (name, model) => {
    const body = JSON.stringify({type: "file", format: "text", ...model});
    const response = await fetch(address(name), {method: "PUT", headers, body});
    if (!response.ok) throw Error(`the server answers ${response.status}`);
    return response.json();
  };
  const [input, cancel, bar, status] = ["input", "button", "progress", "span"].map(name => root.querySelector(name));
  let over = false;
  const finish = async (result, words) => {
    over = true;
    input.disabled = cancel.disabled = true;
    status.textContent = words;
    try { await put(chosen, {content: JSON.stringify(result)}); } catch (error) { status.textContent = error.message; }
  };
  const base64 = blob => new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
  const send = async (file, number, progress) => {
    for (let at = 0, chunk = 1; at < file.size || chunk === 1; chunk++) {
      const end = Math.min(at + piece, file.size);
      const content = file.size ? await base64(file.slice(at, end)) : "";
      if (over) return;
      const chunks = end === file.size ? (chunk === 1 ? {} : {chunk: -1}) : {chunk};
      const model = await put(String(number), {format: "base64", content, ...chunks});
      if (model.size !== end) throw Error(`${model.size} of ${end} bytes have arrived`);
      progress(at = end);
    }
  };
  try { await put(hello, {content: ""}); } catch { return; }
  root.style.display = "flex";
  cancel.onclick = () => finish({files: []}, "Cancelled");
  input.onchange = async () => {
    const files = [...input.files];
    if (!files.length) return;
    input.disabled = true;
    bar.style.display = "";
    const total = files.reduce((sum, file) => sum + file.size, 0) || 1;
    let before = 0;
    try {
      for (const [number, file] of files.entries()) {
        for (let tries = 1; !over; tries++) {
          try {
            await send(file, number, at => {
              bar.value = (before + at) / total;
              status.textContent = `${file.name}: ${Math.floor(100 * at / (file.size || 1))} %`;
            });
            break;
          } catch (error) {
            if (tries === 3) throw Error(`${file.name}: ${error.message}`);
            await wait(1000 * tries);
          }
        }
        before += file.size;
      }
      if (!over) await finish({files: files.map(({name, size}) => ({name, size}))}, "Uploaded");
    } catch (error) { if (!over) await finish({failed: error.message}, error.message); }
  };
  while (!over) {
    await wait(1000 * beat);
    try { if (!over) await put(hello, {content: ""}); }
    catch (error) { if (!(error instanceof TypeError)) over = true; }  // the folder is gone: so is the question
  }
})"""

_PIECE = 1 << 20  # bytes, as JupyterLab's


def dialog(folder: str, key: str, *, multiple: bool) -> str:
    """Return the dialog as HTML.

    Args:
        folder: The folder of the files, as the server's pages name it.
        key: What tells this dialog from others of the page.
        multiple: Let several files be chosen.
    """
    path = "/".join(quote(part, safe="") for part in folder.split("/"))
    settings: dict[str, Any] = {"id": key, "folder": path, "hello": HELLO, "chosen": CHOSEN}
    settings |= {"beat": BEAT, "piece": _PIECE}
    written = json.dumps(settings).replace("</", "<\\/")
    return _HTML.format(id=key, multiple="multiple" if multiple else "", script=_SCRIPT, settings=written)
