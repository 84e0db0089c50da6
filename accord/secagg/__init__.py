"""The vault: both roles of the secure sum, sans-IO, one class per stage.

JOIN (two fresh public keys, signed) -> ROSTER -> SHARE (two secrets split among all) -> SHARES -> MASKED (the vector
plus a self mask and pair masks that cancel) -> SURVIVORS -> UNMASK (one share per dealer: of the self mask's seed if
its vector arrived, of its mask key if not) -> the sum. See docs/protocol.md, section 7.
"""
