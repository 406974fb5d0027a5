"""From a clip whose face has been found to a stream: one function per stage, the order in pipeline.py.

    front_end   what finds the face                 identity/         who is seen: the choice, the fit, cards
    frames      aligned frames, codes, packets      motion/           what the face does: codes, corrected, refined
    analysis    one reading of the clip             personalization/  the generator tuned to the person
    write       clip → bytes                        rate/             bytes against error

A stage is a function of inputs, networks (a pack on a device) and options, and returns a frozen dataclass.
"""
