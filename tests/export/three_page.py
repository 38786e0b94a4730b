"""A GLB drawn by three.js in headless Chromium: a page served on this machine, whose pictures come back by POST."""

import base64
import io
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from parlante.render.camera import Camera

PAGE = """<!doctype html><title>test</title><script type="importmap">{"imports": {
"three": "./three/build/three.module.js", "three/addons/": "./three/examples/jsm/"}}</script>
<script type="module" src="three_draw.mjs"></script>"""
FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run")


def tools() -> tuple[str, Path]:
    """Chromium and the folder of three.js; skips with a message where one is missing."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    modules = Path(os.environ.get("PARLANTE_NODE_MODULES", str(Path(sys.prefix) / "node_modules")))
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium")
    if not (modules / "three").is_dir():
        pytest.skip(f"no three.js: npm install --prefix {sys.prefix} --no-save three")
    return chromium, modules / "three"


def draw(
    glb: Path, folder: Path, times: list[float], camera: Camera, size: int, unlit: bool = True
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Pictures (size, size, 3) at `times` in seconds, and what else the page tells."""
    chromium, three = tools()
    near, far = camera.clip_planes
    wish = {"times": times, "size": size, "fov": camera.fov, "eye": camera.eye, "target": camera.target}
    (folder / "wish.json").write_text(json.dumps({**wish, "near": near, "far": far, "unlit": unlit}))
    (folder / "index.html").write_text(PAGE)
    shutil.copy(Path(__file__).with_name("three_draw.mjs"), folder)
    if glb != folder / "take.glb":
        shutil.copy(glb, folder / "take.glb")
    (folder / "three").symlink_to(three, target_is_directory=True)
    answers: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(SimpleHTTPRequestHandler):
        extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

        def do_POST(self) -> None:
            answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        profile = f"--user-data-dir={folder / 'profile'}"
        with (folder / "chromium.log").open("wb") as log:
            browser = subprocess.Popen([chromium, *FLAGS, profile, address], stdout=log, stderr=log)
            try:
                answer = answers.get(timeout=240)
            except queue.Empty:
                pytest.fail("Chromium did not answer:\n" + (folder / "chromium.log").read_text()[-2000:])
            finally:
                browser.terminate()
                browser.wait(30)
                server.shutdown()
    assert "error" not in answer, answer["error"]
    pictures = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in answer.pop("pictures")]
    return [np.asarray(picture.convert("RGB")) for picture in pictures], answer
