"""From files to scores.

reference ─► aligned squares ─┐
output ────► aligned squares ─┴► matched in time ─► metrics ─► EvaluateReport
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FaceNotFound, OptionError
from ..face.align import Aligner
from ..face.warp import warp
from ..files import PathLike
from ..media.pictures import is_picture, read_image
from ..metrics.action_units import read_openface
from ..progress import ProgressCallback, silent
from .faces import AlignedFaces, Crops, aligned, aligner_for, moved
from .far_end import FarEnd
from .judges import Judges, Readings, imported_pack
from .matching import Matching, matched
from .measuring import Measurement, nothing
from .move import Move
from .options import EvaluateOptions
from .registration import registered
from .report import EvaluateReport, OutputScores
from .scores import Score
from .sources import Source, is_stream, opened

LIKENESS_FRAMES = 25  # of a video that shows whom a puppet should look like
ENLARGED = 1.5  # times as large a square as the output's face has: its squares show nothing more
UNEVEN = 0.1  # of a frame, from which two frames of a pair are told to be of different times


def scored(
    reference: PathLike, outputs: Sequence[PathLike], options: EvaluateOptions, progress: ProgressCallback
) -> EvaluateReport:
    """`evaluate` without writing anything."""
    if not outputs:
        raise OptionError("there is no output to score")
    if options.openface is not None and len(outputs) != 1:
        raise OptionError("--openface takes the tables of one output: score the others one by one")
    networks = imported_pack(options.networks)
    for path in (reference, *outputs, *([] if options.identity is None else [options.identity])):
        is_stream(path)  # before the work: is it there?
    for path in options.openface or ():
        read_openface(path)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        aligner = aligner_for(options.device)
        source = stack.enter_context(opened(reference, options.device, folder))
        faces = aligned(source, aligner, options.size, folder, progress)
        judges = Judges(networks, options.device)
        readings = Readings(faces, judges)
        whom = None if options.identity is None else _likeness(options.identity, aligner, faces.size, options, folder)
        likeness = None if whom is None else Readings(whom, judges)
        measurement = Measurement(readings, judges, FarEnd(readings, judges), options, likeness, progress)
        found = []
        for path in outputs:
            with opened(path, options.device, folder) as output:
                found.append(score_output(output, source, measurement, aligner, folder))
        return EvaluateReport(
            reference={**source.facts(), **_seen(faces)},
            size=faces.size,
            puppet=options.puppet,
            outputs=tuple(found),
            seconds=tuple(float(time) for time in faces.seconds),
            judges=judges.facts(),
        )


def score_output(
    output: Source, source: Source, measurement: Measurement, aligner: Aligner, folder: Path
) -> OutputScores:
    """An output aligned by its face, matched to the reference and measured. source: the reference's frames."""
    reference, options = measurement.reference.faces, measurement.options
    try:
        faces = aligned(output, aligner, reference.size, folder, measurement.progress)
    except FaceNotFound as error:
        return OutputScores(output.facts(), None, tuple(output.notes()), tuple(nothing(str(error), options)), {})
    matching, move = matched(reference, faces, options.delay), Move()
    if not options.puppet:
        move = registered(reference, faces, matching)
        if move.some:
            faces = moved(faces, output, move, folder, measurement.progress)
    scores = measurement.of(Path(output.path).name, faces, matching)
    return OutputScores(
        source={**output.facts(), **_seen(faces)},
        matching={**_matching_facts(matching, reference, faces), "moved": asdict(move)},
        notes=(*output.notes(), *_notes(source, output, reference, faces, matching)),
        scores=tuple(scores),
        worst=_worst(scores, reference, faces, matching),
    )


def _seen(faces: AlignedFaces) -> dict[str, Any]:
    return {
        "frames": len(faces.seconds),
        "frames_with_a_face": int(faces.found.sum()),
        "pixels_of_the_square": round(faces.side, 2),
    }


def _matching_facts(matching: Matching, reference: AlignedFaces, faces: AlignedFaces) -> dict[str, Any]:
    correlation = None if matching.found_by is None else [round(value, 4) for value in matching.found_by]
    return {
        "pairs": len(matching.reference),
        "pairs_at_one_time": matching.at_once,
        "of_reference": len(reference.seconds),
        "of_output": len(faces.seconds),
        "delay_seconds": round(matching.delay, 6),
        "delay_frames": round(matching.frames, 3),
        "largest_difference_of_times_seconds": round(matching.apart, 6),
        "delay_found_by_correlation": correlation,
    }


def _notes(
    source: Source, output: Source, reference: AlignedFaces, faces: AlignedFaces, matching: Matching
) -> list[str]:
    """What a reader of the scores must know."""
    notes, frames = [], len(reference.seconds)
    if matching.delay:
        late = "late" if matching.delay > 0 else "early"
        why = ""
        if matching.found_by is not None:
            why = f" (correlation {matching.found_by[0]:.3f}, {matching.found_by[1]:.3f} without)"
        notes.append(
            f"the output is {abs(matching.frames):.3g} frames ({abs(matching.delay):.3f} s) {late}; frames are matched "
            f"after that{why}"
        )
    if matching.at_once < frames or matching.at_once < len(faces.seconds):
        notes.append(
            f"{matching.at_once:,} frames are matched, of {frames:,} of the reference and {len(faces.seconds):,} of "
            "the output; the others are not scored"
        )
    if len(matching.reference) < matching.at_once:
        notes.append(
            f"{matching.at_once - len(matching.reference):,} of {matching.at_once:,} matched frames are not scored: "
            "the reference or the output shows no face in them"
        )
    if source.rate != output.rate:
        notes.append(f"the rates differ: {source.rate:g} and {output.rate:g} frames per second")
    if matching.apart > UNEVEN / source.rate:
        notes.append(f"the two frames of a pair are up to {1000 * matching.apart:.1f} ms apart")
    if faces.size > ENLARGED * faces.side:
        notes.append(f"the output's face spans {faces.side:.0f} pixels, enlarged to {faces.size}")
    return notes


def _worst(
    scores: Sequence[Score], reference: AlignedFaces, output: AlignedFaces, matching: Matching
) -> dict[str, tuple[Crops, Crops]]:
    """The pair of squares [2 of S, S, 3] at the worst frame of each metric that has one."""
    place = {int(frame): k for k, frame in enumerate(matching.reference)}
    found = {}
    for score in scores:
        if score.worst is not None and score.worst.frame in place:
            k = place[score.worst.frame]
            pair = reference.crops[matching.reference[k]], output.crops[matching.output[k]]
            found[score.metric.name] = (np.array(pair[0]), np.array(pair[1]))
    return found


def _likeness(path: PathLike, aligner: Aligner, size: int, options: EvaluateOptions, folder: Path) -> AlignedFaces:
    """The aligned squares of a picture, or of the first frames of a video or stream."""
    if not is_stream(path) and is_picture(path):
        picture = read_image(path)
        try:
            square = aligner.still(picture)
        except FaceNotFound as error:
            raise FaceNotFound(f"{path}: {error}") from error
        return AlignedFaces.of_pictures(warp(picture, square, size)[None])
    with opened(path, options.device, folder) as source:
        few = replace(source, read=lambda: islice(source.read(), LIKENESS_FRAMES))
        return aligned(few, aligner, size, folder, silent)
