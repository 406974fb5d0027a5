"""Send a stream over UDP through a bad network, and play it as it arrives. Needs no torch unless it renders.

python examples/live_udp.py talk.stc [SIZE]     with SIZE, each group is rendered as it arrives

Sender and receiver are two threads of this program on the loopback interface. On the way 5 % of the datagrams get
lost and others overtake each other; a missing frame holds the one before it, and nothing stalls.
"""

import random
import sys
import threading
import time
from collections.abc import Iterator

from stylecodec.bitstream import FrameGroup, StreamFile, StreamHeader, StreamReader
from stylecodec.bitstream.live import LiveReceiver, Playout, bursts
from stylecodec.bitstream.live.udp import listen, receive, send


class BadNetwork:
    """Loses one datagram in twenty, and lets others wait until the next ones have passed."""

    def __init__(self) -> None:
        self.random, self.waiting = random.Random(1), []

    def __call__(self, datagram: bytes) -> Iterator[bytes]:
        chance = self.random.random()
        if chance < 0.05:
            return
        if chance < 0.2:
            self.waiting.append(datagram)
            return
        yield datagram
        while self.waiting:
            yield self.waiting.pop()


def send_file(path: str, port: int) -> None:
    with StreamFile.open(path) as stream:
        live = bursts(stream, group_frames=1, repeat=0.5, latent_repeat=1.0)
        sent = send(live, "127.0.0.1", port, through=BadNetwork())
    print(f"sent {stream.frame_count} frames, {sent.wire_bytes * 8 / 1000 / sent.seconds:.1f} kbps on the wire")


def main(path: str, size: str = "") -> None:
    reader, receiver = StreamReader(strict=False), LiveReceiver(delay=0.1)
    playout = decoder = None
    if size:
        import stylecodec

        decoder = stylecodec.Decoder.live(size=int(size))
    rendered, shown = 0, {}
    with listen("127.0.0.1", 0) as server:
        threading.Thread(target=send_file, args=(path, server.getsockname()[1])).start()
        for portion in receive(server, receiver, wait=10.0, idle=2.0):
            now = time.monotonic()
            for event in reader.feed(portion):
                if isinstance(event, StreamHeader):
                    playout, tick, step = Playout(event, delay=0.2), now, float(1 / event.rate)
                elif isinstance(event, FrameGroup):
                    playout.push(event, now)
            if decoder is not None:
                rendered += len(decoder.feed(portion))  # uint8 [size, size, 3] each
            while playout is not None and tick <= now:  # what a screen would do
                frame = playout.frame(tick)
                tick += step
                if frame is not None:
                    shown[frame.number] = frame.held
    report = reader.close()
    print(f"received {report.frames} frames, {receiver.jitter.lost} datagrams lost on the way")
    print(f"shown {len(shown)} frames, of which {sum(shown.values())} held the one before")
    if decoder is not None:
        print(f"rendered {rendered} frames")


if __name__ == "__main__":
    main(*sys.argv[1:])
