"""What was once found broken, kind by kind, and the tests that hold it right.

python tools/check_faults.py              runs every test and says right or wrong for each line
python tools/check_faults.py recordings   only lines of one section
python tools/check_faults.py --list       only names the tests

A line without a test is open: it is said, and counts as wrong. Exit code 1 where any line is not right.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Line(NamedTuple):
    """One kind of fault."""

    section: str
    what: str
    """What works now."""
    tests: tuple[str, ...]
    """Node ids below tests/; none: nobody has mended it yet."""


AUDIO = "audio/test_audio_file.py::test_"
LINES = (
    Line("recordings", "channels that cancel are not mixed", (f"{AUDIO}channels_that_cancel",)),
    Line("recordings", "the track with sound is used", (f"{AUDIO}the_track_with_sound_is_used",)),
    Line(
        "recordings",
        "time stamps are obeyed: late sound, gaps",
        (f"{AUDIO}sound_that_begins_late_keeps_its_place", f"{AUDIO}gaps_are_silence"),
    ),
    Line("recordings", "WAV files one behind another", (f"{AUDIO}wav_files_one_behind_another",)),
    Line("recordings", "floats of another scale", (f"{AUDIO}floats_of_another_scale",)),
    Line(
        "recordings",
        "names are only ever files",
        (f"{AUDIO}names_are_only_ever_files", f"{AUDIO}a_file_that_names_others_is_no_recording"),
    ),
    Line(
        "recordings",
        "long files, empty headers, pipes",
        (
            f"{AUDIO}long_recordings_have_facts_too",
            f"{AUDIO}headers_that_say_nothing_are_one_line",
            f"{AUDIO}pipes_are_read_and_devices_are_not",
        ),
    ),
    Line(
        "recordings",
        "(N, channels) is averaged over channels",
        ("audio/test_recording.py::test_arrays_of_several_channels_are_averaged_over_the_channels",),
    ),
    Line(
        "curves",
        "opposed curves are never on together",
        ("geometry/test_blendshape_solver.py::test_opposed_shapes_are_never_on_together",),
    ),
    Line(
        "curves",
        "the Live Link CSV has 60 rows a second",
        (
            "export/test_livelink_csv.py::test_readers_that_count_sixtieths_place_every_row",
            "export/test_livelink_csv.py::test_another_rate_is_told",
        ),
    ),
    Line(
        "curves",
        "mirror and gain where a take is made",
        (
            "cli/test_animate_command.py::test_a_performance_is_changed_on_its_way",
            "export/test_edit.py::test_a_mirrored_performance",
        ),
    ),
    Line(
        "curves",
        "USD of two kinds in one command",
        ("export/test_outputs.py::test_two_outputs_that_would_write_the_same_file_beside_them_are_refused",),
    ),
    Line(
        "meshes",
        "lips that touch at a vertex stay two",
        (
            "retarget/mesh/test_own_parts.py::test_vertices_at_one_place_are_one_only_along_an_edge",
            "retarget/mesh/test_own_parts.py::test_our_own_lips_stay_apart_where_they_touch",
        ),
    ),
    Line("meshes", "own teeth, gums, tongue, eyes", ("retarget/mesh/test_own_parts.py",)),
    Line(
        "meshes",
        "no coordinates, other tiles, no area",
        (
            "retarget/mesh/test_layout.py::test_a_glb_without_texture_coordinates_is_untextured",
            "retarget/mesh/test_layout.py::test_a_face_in_another_tile_is_taken_as_the_first",
            "retarget/mesh/test_layout.py::test_coordinates_without_area_are_none",
        ),
    ),
    Line(
        "meshes",
        "the head of a body is found and framed",
        ("retarget/mesh/test_layout.py::test_the_head_of_a_body_is_looked_for_and_framed",),
    ),
    Line(
        "meshes",
        "lines that go on, colours of vertices",
        (
            "retarget/mesh/test_layout.py::test_lines_of_an_obj_may_go_on_and_bear_colours",
            "retarget/mesh/test_layout.py::test_colours_of_vertices_are_painted_or_told",
        ),
    ),
    Line(
        "rigs",
        "teeth do not speak in a face without names",
        ("retarget/rig/test_jaw.py::test_teeth_do_not_speak_in_a_face_whose_targets_lost_their_names",),
    ),
    Line(
        "rigs",
        "teeth that nothing moves are told",
        ("retarget/rig/test_jaw.py::test_teeth_that_nothing_moves_are_told",),
    ),
    Line(
        "rigs",
        "the jaw's bone by what it moves",
        ("retarget/rig/test_jaw.py::test_the_jaws_bone_is_found_by_what_it_moves_and_helps_a_weak_target",),
    ),
    Line(
        "rigs",
        "a mouth drawn in the texture is refused",
        ("retarget/rig/test_jaw.py::test_a_mouth_drawn_in_the_texture_is_refused",),
    ),
    Line(
        "rigs",
        "a character's own calibration",
        ("retarget/rig/test_jaw.py::test_a_calibration_beside_a_rig_is_applied",),
    ),
    Line("files", "pictures start no program and have limits", ("core/test_pictures.py",)),
    Line("files", "arrays are bounded by what a file may hold", ("core/test_arrays.py", "export/test_npz.py")),
    Line("files", "files that files name stay in the folder", ("core/test_beside.py",)),
    Line(
        "files",
        "headers are typed: JSON, YAML, glTF, checkpoints",
        ("core/test_typed.py", "core/test_headers.py", "retarget/rig/test_hostile_gltf.py"),
    ),
    Line("files", "a fault of ours is one line and a report", ("cli/test_faults.py",)),
    Line("files", "readers stand changed structure", ("data/test_fuzz_readers.py",)),
    Line(
        "long work",
        "signals: 130 and 143, a training saved first",
        ("training/engine/test_loop.py::test_a_signal_waits_for_the_step",),
    ),
    Line(
        "long work",
        "nothing half-written, workers end with the parent",
        (
            "batch/test_runner.py::test_workers_end_with_a_parent_that_is_killed",
            "batch/test_runner.py::test_leaving_early_ends_the_workers_and_leaves_nothing_half_written",
        ),
    ),
    Line("long work", "every extra is pinned; the Python that is claimed", ("test_pins.py",)),
    Line("long work", "the wheel works outside the source", ("test_wheel.py",)),
    Line("long work", "a lock file with hashes", ("test_pins.py::test_the_lock_has_the_pinned_versions_with_hashes",)),
    Line("long work", "an audit of pinned packages for known faults", ("test_audit.py",)),
)


def main() -> int:
    """Run the tests of each line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", nargs="?", choices=sorted({line.section for line in LINES}), help="only this one")
    parser.add_argument("--list", action="store_true", help="name the tests and run none")
    options = parser.parse_args()
    right = True
    for line in LINES:
        if options.section not in (None, line.section):
            continue
        verdict = _verdict(line, run=not options.list)
        right &= verdict == "right" or options.list
        print(f"{verdict:6} {line.section}: {line.what}", flush=True)
        if options.list:
            print("".join(f"       tests/{test}\n" for test in line.tests), end="")
    return 0 if right else 1


def _verdict(line: Line, *, run: bool) -> str:
    if not line.tests:
        return "open"
    if not run:
        return "-"
    paths = [f"tests/{test}" for test in line.tests]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", *paths], cwd=ROOT, capture_output=True, check=False)
    return "right" if done.returncode == 0 else "wrong"


if __name__ == "__main__":
    raise SystemExit(main())
