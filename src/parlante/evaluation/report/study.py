"""A user study as static HTML: pairs of videos with sound, sides and order at random, answers downloaded as CSV.

DIR/index.html       opens without a network; asks both questions about every pair
DIR/videos/*.mp4     one motion of one clip each, under numbers that tell nothing
DIR/key.csv          number of a video -> clip and model; for the one who counts the answers, not for participants
"""

import csv
import html
import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.evaluation.clip import EvalClip, Prediction
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.predictors import BASELINES
from parlante.evaluation.report.figures import write_video
from parlante.evaluation.results import TRUTH

QUESTIONS = ("In which video do the lips fit the speech better?", "In which video is the face more natural?")
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>Talking faces</title><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
.pair{display:flex;gap:1rem;flex-wrap:wrap}figure{margin:0;flex:1 1 300px}video{width:100%;background:#111}
fieldset{border:0;padding:0;margin:1rem 0}legend{font-weight:600}label{margin-right:1.5rem}
button{font:inherit;padding:.4rem 1.2rem}</style></head><body><h1>Talking faces</h1>
<p id="about">You see pairs of videos with sound. Play both, then answer. Your answers stay on this computer until you
send the file that you download at the end.</p>
<form id="form" hidden><p id="place"></p><div class="pair">
<figure><video id="left" controls playsinline></video><figcaption>left</figcaption></figure>
<figure><video id="right" controls playsinline></video><figcaption>right</figcaption></figure></div>
<div id="questions"></div><button>Next</button></form>
<p id="end" hidden>Thank you. <button id="save" type="button">Download your answers</button></p>
<p><button id="start" type="button">Begin</button></p><script>
const pairs = PAIRS, questions = QUESTIONS;
const get = id => document.getElementById(id), rows = [["participant", "pair", "left", "right", "question", "answer",
  "seconds"]];
const bytes = crypto.getRandomValues(new Uint32Array(2));
const participant = Array.from(bytes, n => n.toString(36)).join("");
for (let k = pairs.length - 1; k > 0; k--) {
  const j = Math.floor(Math.random() * (k + 1));
  [pairs[k], pairs[j]] = [pairs[j], pairs[k]];
}
const shown = pairs.map(pair => Math.random() < 0.5 ? pair : [pair[1], pair[0]]);
let place = 0, since = 0;
function show() {
  if (place === shown.length) { get("form").hidden = true; get("end").hidden = false; return; }
  get("place").textContent = `${place + 1} of ${shown.length}`;
  ["left", "right"].forEach((side, k) => { get(side).src = `videos/${shown[place][k]}.mp4`; });
  const choice = (side, k) => `<label><input type="radio" required name="q${k}" value="${side}"> ${side}</label>`;
  get("questions").innerHTML = questions.map((words, k) =>
    `<fieldset><legend>${words}</legend>${choice("left", k)}${choice("right", k)}</fieldset>`).join("");
  since = performance.now();
}
get("start").onclick = () => { get("start").hidden = get("about").hidden = true; get("form").hidden = false; show(); };
get("form").onsubmit = event => {
  event.preventDefault();
  const answers = new FormData(get("form")), seconds = ((performance.now() - since) / 1000).toFixed(1);
  const [left, right] = shown[place];
  questions.forEach((words, k) => {
    rows.push([participant, place + 1, left, right, k + 1, answers.get(`q${k}`), seconds]);
  });
  place++;
  show();
};
get("save").onclick = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([rows.map(row => row.join(",")).join("\\n") + "\\n"], {type: "text/csv"}));
  link.download = `answers-${participant}.csv`;
  link.click();
};
</script></body></html>
"""


class StudyPage:
    """Takes the predictions of every clip (`evaluate(keep=...)`); `finish` writes the page.

    Every two of the models are a pair; a single model is compared with the truth. Raises InputError for a mesh without
    triangles.
    """

    def __init__(self, evaluation: Evaluation, models: Sequence[str], folder: Path, seed: int = 0) -> None:
        if not len(evaluation.rules.topology.triangles):
            raise InputError(
                f"a study needs triangles, the mesh of {evaluation.config.data} has none; put its template (.ply or "
                ".obj) beside the arrays"
            )
        self._rules, self._folder, self._rng = evaluation.rules, folder, np.random.default_rng(seed)
        self._models = [name for name in models if name not in BASELINES]
        if len(self._models) == 1:
            self._models.append(TRUTH)
        self._key: list[tuple[str, str, str]] = []
        self._pairs: list[tuple[str, str]] = []
        (folder / "videos").mkdir()

    def __call__(self, clip: EvalClip, predictions: Mapping[str, Sequence[Prediction]]) -> None:
        """Write the videos of a clip."""
        motions: dict[str, NDArray[np.float32]] = {
            name: clip.vertices if name == TRUTH else predictions[name][0].vertices for name in self._models
        }
        frames = min(len(motion) for motion in motions.values())  # videos of a pair are equally long
        numbers = {}
        for name in self._rng.permutation(self._models).tolist():
            numbers[name] = f"{len(self._key) + 1:04}"
            self._key.append((numbers[name], clip.key, name))
            write_video(self._folder / "videos" / f"{numbers[name]}.mp4", self._rules, clip, [motions[name][:frames]])
        self._pairs += [(numbers[one], numbers[other]) for one, other in combinations(self._models, 2)]

    def finish(self) -> None:
        """Write the page and the key, once all clips have come."""
        page = _PAGE.replace("PAIRS", json.dumps(sorted(sorted(pair) for pair in self._pairs)), 1)
        page = page.replace("QUESTIONS", json.dumps([html.escape(words) for words in QUESTIONS]), 1)
        (self._folder / "index.html").write_text(page)
        with (self._folder / "key.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("video", "clip", "model"), *self._key])
