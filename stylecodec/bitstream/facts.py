"""What a stream is, told in plain values, without decoding it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .attached import background, personalizations
from .file import StreamFile


def stream_facts(stream: StreamFile) -> dict[str, Any]:
    """Frames, rate, pack, sound, bytes and kilobits per second by part: values that JSON has too. FormatError."""
    header, account, seconds = stream.header, stream.byte_account(), stream.duration_seconds
    report, config, crop = stream.report, stream.audio_config, header.crop
    tuned, behind = personalizations(stream), background(stream)
    return {
        "frames": stream.frame_count,
        "fps": round(float(header.rate), 6),
        "rate": f"{header.rate.numerator}/{header.rate.denominator}",
        "variable_rate": header.variable_rate,
        "duration_seconds": round(seconds, 6),
        "width": header.width,
        "height": header.height,
        "profile": header.profile.name.lower(),
        "pack": {"name": header.pack_name, "digest": header.pack_digest.hex()},
        "identities": len({i.digest for i in stream.identities}),
        "latents": [
            {"digest": i.digest.hex(), "form": i.form.name.lower(), "bytes": size}
            | ({} if i.base is None else {"base": i.base.digest.hex()})
            for i, size in stream.identity_sizes()
        ],
        "personalized": [
            {"identity": who.hex(), "delta": one.digest.hex(), "carried": one.delta is not None}
            for who, one in tuned.items()
        ],
        "background": "render" if behind is None else behind.mode.name.lower(),
        "groups": stream.group_count,
        "live": header.live,
        "complete": stream.complete,
        "missing": list(report.missing) if report else [],
        "audio": {"codec": "opus", **asdict(config)} if config else None,
        "source": asdict(crop) if crop else None,
        "bytes": account,
        "kbps": kbps(account, seconds),
    }


def kbps(account: Mapping[str, int], seconds: float) -> dict[str, float]:
    """Kilobits per second of some parts of a byte account; 0 for a stream without frames."""
    return {
        part: round(account[part] * 8 / seconds / 1000, 3) if seconds else 0.0
        for part in ("total", "packets", "audio")
    }
