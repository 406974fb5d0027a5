"""Look into a .stc file: what it holds, what it costs, how the head moves. Needs no torch.

    python examples/inspect_stream.py clip.stc
"""

import sys

from stylecodec.bitstream import StreamFile, check


def main(path: str) -> None:
    with StreamFile.open(path) as stream:
        header = stream.header
        print(f"{path}: {stream.frame_count} frames, {stream.duration_seconds:.2f} s at {float(header.rate):g} fps")
        print(f"rendered {header.width} x {header.height} by pack {header.pack_name} {header.pack_digest.hex()[:12]}")
        for identity in stream.identities:
            print(f"identity {identity.slot}: {identity.digest.hex()[:12]}")
        if stream.audio_config is not None:
            print(f"sound: Opus, {stream.audio_config.channels} channel(s)")

        account = stream.byte_account()
        for part, count in account.items():
            kbps = count * 8 / 1000 / stream.duration_seconds if stream.duration_seconds else 0.0
            print(f"{part:>16} {count:10,} bytes {kbps:8.2f} kbit/s")

        if stream.frame_count:
            # Any stretch of frames, without reading the others: yaw, pitch, roll in degrees, then 32 alphas.
            packets = stream.packets(0, stream.frame_count)
            for name, track in zip(("yaw", "pitch", "roll"), packets.T, strict=False):
                print(f"{name:>16} {track.min():8.1f} to {track.max():6.1f} degrees")

    report = check(path)
    print("whole" if report.complete else "damaged; missing: " + ("; ".join(report.missing) or "nothing in it"))
    for damage in report.damage:
        print(f"  {damage.length:,} bytes from {damage.offset:,}: {damage.error}")


if __name__ == "__main__":
    main(sys.argv[1])
