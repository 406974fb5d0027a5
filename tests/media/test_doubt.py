"""Pictures that damage may have smeared are known by their times, up to the next one that stands by itself."""

from types import SimpleNamespace

import av
import numpy as np
import pytest

from stylecodec.media import VideoReader
from stylecodec.media.doubt import RENEWED, Damage, Doubt
from tests.media.made import write_tracks

GROUP, COUNT = 12, 36
TS_PACKET = 188


def write_hurt(path, how="overwritten", codec="libx264", frames=None):
    """Three groups of pictures, the second without its key frame; how: its middle is overwritten, or it is gone."""
    noise = np.random.default_rng(7).integers(0, 256, (96, 128, 3), np.uint8)
    frames = [np.roll(noise, 2 * n, 1) for n in range(COUNT)] if frames is None else frames
    options = {"g": str(GROUP), "keyint_min": str(GROUP), "sc_threshold": "0", "bf": "0", "threads": "1"}
    write_tracks(path, [{"frames": frames, "codec": codec, "options": options}])
    with av.open(str(path)) as container:
        key = [p for p in container.demux(video=0) if p.is_keyframe][1]
        begin, end = key.pos, key.pos + TS_PACKET * -(-key.size // (TS_PACKET - 4))
    data, rng = bytearray(path.read_bytes()), np.random.default_rng(0)
    if how == "gone":
        del data[begin:end]
    else:
        for at in range(begin + TS_PACKET, end - 2 * TS_PACKET, TS_PACKET):
            data[at + 8 : at + 120] = rng.integers(0, 256, 112, np.uint8).tobytes()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize("how", ["overwritten", "gone"])
def test_pictures_after_a_damaged_key_frame_are_doubtful_until_the_next(tmp_path, how, codec):
    reader = VideoReader(write_hurt(tmp_path / "a.ts", how, codec))
    assert not reader.doubtful
    times = [round(25 * seconds) for seconds, _ in reader.frames()]
    doubtful = {round(25 * seconds) for seconds in reader.doubtful}
    assert {n for n in times if GROUP <= n < 2 * GROUP} <= doubtful
    assert doubtful <= set(range(GROUP - 4, 2 * GROUP))  # pictures that were on their way when the gap was met
    assert reader.notes


def test_nothing_is_doubtful_where_nothing_is_damaged(tmp_path):
    noise = np.random.default_rng(7).integers(0, 256, (4, 48, 64, 3), np.uint8)
    for name, codec in (("a.ts", "mpeg2video"), ("a.mp4", "libx264"), ("a.mkv", "libvpx"), ("a.avi", "mjpeg")):
        pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        write_tracks(tmp_path / name, [{"frames": noise[np.arange(30) % 4], "codec": codec, "pix_fmt": pix_fmt}])
        reader = VideoReader(tmp_path / name)
        assert len(list(reader.frames())) == 30
        assert not reader.doubtful
        assert reader.notes == []


def of(*steps):
    """The doubtful ones of pictures (time, type, damaged) that come out; a number: the time of a packet with a gap."""
    damage = Damage()
    doubt = Doubt(damage)
    for step in steps:
        if isinstance(step, int):
            doubt.see_packet(SimpleNamespace(size=1, pts=step, is_corrupt=True))
            continue
        time, kind, corrupt = step
        doubt.see_packet(SimpleNamespace(size=1, pts=time, is_corrupt=False))
        damage.pictures += corrupt
        types = {"I": 1, "P": 2, "?": 0}
        doubt.see_frame(SimpleNamespace(pts=time, pict_type=types[kind], key_frame=kind in "I?"))
    return damage.doubtful


def test_only_a_picture_from_after_the_damage_ends_the_doubt():
    assert of((0, "I", False), (1, "P", True), (2, "P", False), (3, "I", False), (4, "P", False)) == {1, 2}
    assert of((0, "I", False), (1, "P", True), (2, "I", True), (3, "P", False), (4, "?", False)) == {1, 2, 3}
    late = of((0, "I", False), 3, (1, "P", False), (2, "I", False), (3, "P", False), (4, "I", False))
    assert late == {1, 2, 3}  # the key frame at 2 was on its way through the decoder when the gap after 3 was met


def test_doubt_ends_where_pictures_renew_themselves_piece_by_piece():
    steps = [(0, "I", False), (1, "P", True), *((n, "P", False) for n in range(2, RENEWED + 50))]
    assert of(*steps) == set(range(1, 1 + RENEWED))


@pytest.mark.parametrize("deinterlace", ["frame", "field"])
def test_fields_of_a_doubtful_frame_are_doubtful(tmp_path, deinterlace):
    noise = np.random.default_rng(7).integers(0, 256, (96, 128, 3), np.uint8)
    path = tmp_path / "a.ts"
    options = {"g": "12", "sc_threshold": "0", "bf": "0", "flags": "+ildct+ilme", "threads": "1"}
    frames = [np.roll(noise, 2 * n, 1) for n in range(COUNT)]
    write_tracks(path, [{"frames": frames, "codec": "mpeg2video", "options": options}])
    with av.open(str(path)) as container:
        key = [p for p in container.demux(video=0) if p.is_keyframe][1]
    data = bytearray(path.read_bytes())
    for at in range(key.pos + TS_PACKET, key.pos + key.size // 2, TS_PACKET):
        data[at + 8 : at + 120] = bytes(112)
    path.write_bytes(data)
    reader = VideoReader(path, deinterlace=deinterlace)
    seconds = [time for time, _ in reader.frames()]
    each = 2 if deinterlace == "field" else 1
    assert len(seconds) == pytest.approx(each * COUNT, abs=each)
    assert len(reader.doubtful) == pytest.approx(each * GROUP, abs=each)
    assert all(GROUP / 25 - 0.05 < time < 2 * GROUP / 25 + 0.05 for time in reader.doubtful)
