"""The HTML report: one file that opens without a network."""

import html
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parlante.core import InputError, atomic_path
from parlante.evaluation.compare import rank, spread, table
from parlante.evaluation.evaluate import EvalResult
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.measures import MEASURES
from parlante.evaluation.predictors import BASELINES
from parlante.evaluation.protocols import protocol
from parlante.evaluation.report.figures import COLOURS, chart, heat_map, png, ramp, side_by_side, tracks
from parlante.evaluation.results import TRUTH, stored_interval

_CSS = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:2.2rem 0 .6rem}p{max-width:75ch}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13.5px}
th,td{padding:.32rem .7rem;border-bottom:1px solid #e3e3e3;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;min-width:15rem}td.best{font-weight:650}
small{color:#666;font-weight:400}figure{display:inline-block;margin:.4rem 1rem .6rem 0}figcaption{font-size:13px}
svg{width:100%;height:auto;max-width:900px;display:block;margin:.6rem 0}
svg text{font:11px system-ui,sans-serif;fill:#555}
svg .t{font-size:12.5px;fill:#222}svg .g{stroke:#e6e6e6}svg polyline{stroke-width:1.4}
.key span{margin-right:1.1rem;white-space:nowrap}.key i{display:inline-block;width:1.1em;height:.2em;margin-right:.4em;
vertical-align:middle}video{max-width:100%;background:#111}.bar{width:260px;height:14px;display:block}
.ends{display:flex;justify-content:space-between;width:260px;font-size:12px}
"""


def write_page(
    path: Path,
    evaluation: Evaluation,
    result: EvalResult,
    *,
    command: str = "",
    video: bool = True,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write the report. command: what made it. video: with truth and predictions side by side. progress: called with
    the name of each part as it begins."""
    results = result.results
    names = [name for name in results["models"] if name != TRUTH]
    colours = dict(zip([TRUTH, *names], [COLOURS[k % len(COLOURS)] for k in range(len(names) + 1)]))
    tell = progress or (lambda _: None)
    parts = [_head(results, command), _figures(results, names), _ranking(results)]
    tell("faces")
    parts.append(_heat_maps(evaluation, result, names))
    parts.append("<h2>Over time</h2>" + _key(colours))
    for shown in result.shown:
        parts.append(f"<h3>{_text(shown.clip.key)}</h3>")
        for title, lines in tracks(evaluation.rules, shown).items():
            parts.append(chart(title, lines, shown.clip.fps, colours))
    if video:
        parts += _videos(evaluation, result, [name for name in names if name not in BASELINES], tell)
    parts += [_subjects(results, names), _facts(results, names)]
    body = "\n".join(parts)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Evaluation on {_text(results['data'])}</title><style>{_CSS}</style></head><body>{body}</body></html>\n"
    )
    with atomic_path(path) as part:
        part.write_text(page)


def _videos(evaluation: Evaluation, result: EvalResult, names: Sequence[str], tell: Callable[[str], None]) -> list[str]:
    """Truth and the named models side by side, clip by clip; nothing where there is nothing to draw."""
    if not names or not result.shown or not len(evaluation.rules.topology.triangles):
        return []
    parts = ["<h2>Side by side</h2>"]
    for shown in result.shown:
        tell(f"video of {shown.clip.key}")
        source = side_by_side(evaluation.rules, shown, names)
        caption = " · ".join(_text(name) for name in (TRUTH, *names))
        parts.append(f'<figure><video controls loop src="{source}"></video><figcaption>{_text(shown.clip.key)}: ')
        parts.append(f"{caption}</figcaption></figure>")
    return parts


def _text(value: Any) -> str:
    return html.escape(str(value))


def _head(results: Mapping[str, Any], command: str) -> str:
    clips, people = len(results["clips"]), len({clip["subject"] for clip in results["clips"].values()})
    rules = "the data's own regions"
    if results["protocol"]:
        rules = f"protocol {results['protocol']} ({protocol(results['protocol']).formula})"
    notice = results["notice"]
    lines = [
        f"<p><strong>{_text(notice)}</strong></p>" if notice else "",
        f"<h1>Evaluation on {_text(results['data'])}</h1>",
        f"<p>{_text(results['dataset'])}, {_text(results['split'])}: {clips} clips of {people} subjects, ",
        f"{_text(rules)}. ",
        f"Brackets are {results['level']:.0%} bootstrap intervals over clips. ",
        "Baselines: <i>mean motion</i> is the speaker's mean face, <i>static</i> the face at rest. ",
        "<i>truth</i> shows what the recorded motion itself scores where no truth is needed beside it.</p>",
    ]
    if "lpips" not in results["measures"] and "psnr" in results["measures"]:
        lines.append("<p>LPIPS was not measured: its weights are not part of this package; give --lpips FILE.</p>")
    if command:
        lines.append(f"<p><code>{_text(command)}</code></p>")
    return "".join(lines)


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of ready HTML cells."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: str) -> str:
    return f'<td class="best">{cell[1:]}</td>' if cell.startswith("\0") else f"<td>{cell}</td>"


def _figures(results: Mapping[str, Any], names: Sequence[str]) -> str:
    shown, rows = [*names, TRUTH], []
    for name, measure in MEASURES.items():
        found = {who: results["models"][who]["figures"].get(name) for who in shown}
        if not any(found.values()):
            continue
        judged = {who: measure.badness(found[who]["value"]) for who in names if found[who]}
        best = min(judged, key=lambda who: judged[who]) if judged else None
        unit = measure.unit_in(results["unit"])
        wanted = measure.better.replace("near:", "near ")
        cells = [f"{_text(measure.label)} <small>{_text(unit)}{', ' if unit else ''}{wanted} is better</small>"]
        for who in shown:
            one = found[who]
            if one is None:
                cells.append("")
                continue
            text = spread(stored_interval(one), measure.digits_in(results["unit"]))
            value, _, rest = text.partition(" ")
            cells.append(("\0" if who == best else "") + f"{value} <small>{_text(rest)}</small>")
        rows.append(cells)
    return "<h2>Figures</h2>" + _grid(["measure", *map(_text, shown)], rows)


def _ranking(results: Mapping[str, Any]) -> str:
    try:
        found = rank(results)
    except InputError as error:
        return f"<h2>Ranking</h2><p>{_text(error)}</p>"
    head = [
        "place",
        "model",
        f"{found.measure.label} {found.unit}",
        "the next one is worse by",
        "better beyond noise than",
    ]
    rows = [[_text(cell) for cell in row] for row in table(found)]
    return (
        "<h2>Ranking</h2><p>Differences by bootstrap on the same clips, corrected for the number of pairs (Holm).</p>"
        + _grid(head, rows)
    )


def _heat_maps(evaluation: Evaluation, result: EvalResult, names: Sequence[str]) -> str:
    rules = evaluation.rules
    if not len(rules.topology.triangles):
        return "<h2>Error on the face</h2><p>The data has no triangles, so no face can be drawn.</p>"
    skin = slice(None) if rules.skin is None else rules.skin
    top = float(max(np.quantile(result.vertex_error[name][skin], 0.995) for name in names))
    neutral = result.shown[0].clip.neutral if result.shown else evaluation.clip(evaluation.judged[0]).neutral
    pictures = {name: png(heat_map(rules, neutral, result.vertex_error[name], top)) for name in names}
    drawn = [
        f'<figure><img alt="error of {_text(name)}" src="{picture}"><figcaption>{_text(name)}</figcaption></figure>'
        for name, picture in pictures.items()
    ]
    scale, unit = (1e3, "mm") if rules.unit == "m" else (1.0, "data units")
    legend = (
        f'<img class="bar" alt="colour map" src="{png(ramp())}">'
        f'<div class="ends"><span>0</span><span>{scale * top / 2:.3g}</span>'
        f"<span>{scale * top:.3g} {unit} or more</span></div>"
    )
    return "<h2>Error on the face</h2><p>Mean distance of each vertex, all clips.</p>" + legend + "".join(drawn)


def _key(colours: Mapping[str, str]) -> str:
    marks = (f'<span><i style="background:{colour}"></i>{_text(name)}</span>' for name, colour in colours.items())
    return f'<p class="key">{"".join(marks)}</p>'


def _subjects(results: Mapping[str, Any], names: Sequence[str]) -> str:
    parts = ["<h2>Subjects</h2>"]
    for name in ("lip_mm", "lip_error", "mve", "psnr_moving"):
        measure, rows = MEASURES[name], []
        for person in results["models"][names[0]]["subjects"]:
            values = [results["models"][who]["subjects"][person].get(name) for who in names]
            clips = sum(clip["subject"] == person for clip in results["clips"].values())
            if any(value is not None for value in values):
                digits = measure.digits_in(results["unit"])
                cells = ["" if value is None else f"{value:.{digits}f}" for value in values]
                rows.append([_text(person), str(clips), *cells])
        if rows:
            parts.append(f"<h3>{_text(measure.label)} <small>{_text(measure.unit_in(results['unit']))}</small></h3>")
            parts.append(_grid(["subject", "clips", *map(_text, names)], rows))
    return "".join(parts)


def _facts(results: Mapping[str, Any], names: Sequence[str]) -> str:
    facts = {name: results["models"][name]["facts"] for name in names}
    return f"<h2>Models</h2><pre>{_text(json.dumps(facts, indent=1))}</pre>"
