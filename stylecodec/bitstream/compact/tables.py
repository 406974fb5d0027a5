"""The fixed tables of the compact profile (SPEC 12.4): relative frequencies in five clips, from coarse to fine steps.

They never change, as streams depend on them.
"""

from __future__ import annotations

ACTIVITY_CLASSES = 12
#: The activity, in units of 1/4096, from which each class but the first begins.
CLASS_BOUNDS = (192, 400, 720, 1200, 1760, 2560, 3680, 5280, 7680, 11200, 17600)
#: The activity of a parameter of each class at the start of a group.
ACTIVITY_OF_CLASS = (100, 290, 550, 950, 1470, 2130, 3100, 4450, 6400, 9300, 14000, 22000)

# fmt: off
#: Probability of a 0 in units of 1/256, for each state at the start of a group.
INITIAL_CHANCES = (
    # whether a residual is 0: a row for each activity class; surprise 0..2 and first frame, each without and with skew
    255, 232, 254, 224, 251, 211, 245, 251,
    251, 226, 243, 212, 223, 193, 234, 242,
    245, 221, 233, 198, 207, 176, 237, 231,
    231, 191, 211, 174, 185, 150, 157, 207,
    210, 154, 183, 142, 160, 134, 179, 186,
    181, 131, 150, 118, 114,  90, 120, 151,
    179, 137, 125,  93,  75,  69, 121, 131,
    148,  99, 102,  68,  54,  65,  89, 102,
    144,  79,  73,  55,  40,  33,  59,  79,
     95,  65,  51,  43,  23,  22,  41,  58,
     75,  64,  38,  31,  47,  35,  28,  43,
     56,  48,  22,  18,  41,  38,  11,  33,
    # whether a size is 1, 2, … 5, more: a row for each activity class, then the same in first frames
    255, 214, 249, 243, 236, 223,
    255, 166, 178, 177, 222, 217,
    253, 182, 167, 168, 136, 179,
    248, 197, 154, 144, 141, 104,
    236, 187, 195, 157, 124, 122,
    220, 187, 158, 148, 133, 125,
    187, 174, 156, 150, 125, 119,
    155, 150, 148, 128, 119,  97,
    120, 122, 117, 108, 108,  95,
     92,  94,  95,  92,  89,  84,
     59,  61,  62,  59,  56,  50,
     44,  43,  42,  41,  39,  37,
    244, 237, 229, 215, 193, 166,
    241, 234, 226, 213, 194, 166,
    246, 234, 222, 208, 187, 159,
    213, 203, 163, 180, 148, 152,
    207, 192, 176, 156, 128,  98,
    167, 153, 127, 110,  77,  89,
    162, 146, 130, 109,  85,  60,
    131, 105, 125,  81,  91,  42,
     91,  82,  57,  71,  48,  30,
     64,  47,  39,  31,  36,  23,
     50,  45,  45,  39,  37,  34,
     32,  22,  24,  22,  25,  19,
    # whether a residual is above 0: a row for each skew (-1, 0, 1), a column for each last sign
    102,  45,  81,
    135, 128, 121,
    175, 211, 154,
)
# fmt: on
