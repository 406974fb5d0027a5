"""Live streams: groups of N frames without an index, joined at any time and played on through loss (SPEC 6 and 11).

    LiveSender    frames and audio ──► chunks, group by group; header, identity and the like again and again
    LiveReceiver  datagrams ──► bytes of chunks in order, for a StreamReader or a live Decoder
    Playout       groups ──► one frame per tick: the one that is due, or the one before it held
"""

from .playout import Playout, PlayoutFrame
from .receiver import IdentityCache, LiveReceiver
from .sender import ATTACHED_SECONDS, LATENT_SECONDS, REPEAT_SECONDS, Burst, LiveSender, bursts, fits, needs

__all__ = [
    "ATTACHED_SECONDS",
    "LATENT_SECONDS",
    "REPEAT_SECONDS",
    "Burst",
    "IdentityCache",
    "LiveReceiver",
    "LiveSender",
    "Playout",
    "PlayoutFrame",
    "bursts",
    "fits",
    "needs",
]
