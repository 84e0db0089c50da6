"""Lies about who is in a cohort, who dealt, who survived and how they are connected."""

from told_lie import Lie

SURVIVORS = (
    Lie("both shares of one peer: a second survivor set", "AnsweredBefore", ("a second survivor set",)),
    Lie("the same behind a restart", "AnsweredBefore", ("a second survivor set after a restart",)),
    Lie("the same survivor set again", "OutOfOrder", ("survivors twice",)),
    Lie("a survivor set before the shares", "OutOfOrder", ("survivors before the shares",)),
    Lie("a survivor set without the device", "CalledDead", ("our vector is said to be missing",)),
    Lie(
        "a survivor set, dealers or a roster that isolate it: fewer than its floor, or than t",
        "SmallCohort",
        ("this device alone survives", "two survivors", "two dealers", "a roster below the device's floor"),
    ),
    Lie("a survivor who dealt nothing", "NotASharer", ("a survivor who dealt nothing",)),
    Lie(
        "survivors or dealers who are nobody",
        "BadBitmap",
        ("a dealer behind the last member", "a byte too many", "a survivor behind the last member"),
    ),
    Lie("members who are nobody", "BadBitmap", ("a place behind the last", "two bytes for four members")),
    Lie("dealers without the device", "NotADealer", ("we dealt nothing, it says",)),
    Lie("shares kept back", "MissingShare", ("fewer shares than dealers",)),
    Lie("shares of another dealer", "BadSeal", ("shares in another order",)),
    Lie("other shares after the first ones", "SharesChanged", ("other shares after the first ones",)),
    Lie("the same shares again", "OutOfOrder", ("the same shares twice",)),
)
"""Who dealt, and who is still there."""
MEMBERS = (
    Lie(
        "letters and documents that somebody else signed",
        "BadSignature",
        (
            "an opening of a stranger",
            "a list that enrolment did not sign",
            "a checkpoint of a stranger",
            "a roster of another device",
            "a manifest of somebody else",
        ),
    ),
    Lie("a forged member", "ForgedJoin", ("a member who did not sign",)),
    Lie(
        "a JOIN of an earlier attempt",
        "ForgedJoin",
        ("a member who joined another attempt", "three members who joined another attempt"),
    ),
    Lie(
        "a puppet of the aggregator, or a renamed member",
        "NotEnrolled",
        (
            "a puppet that the aggregator vouches for",
            "a member with another's certificate",
            "a member with another serial number",
        ),
    ),
    Lie("a member whose certificate has ended", "Expired", ("a member whose certificate has ended",)),
    Lie("a revoked member", "Revoked", ("a revoked member",)),
    Lie(
        "a truncated roster",
        "WrongRule",
        ("two members", "three members under the rule of four"),
    ),
    Lie("a roster cut short or padded", "BadMessage", ("a roster cut short", "a padded roster")),
    Lie(
        "a roster of too many: their sum could wrap around",
        "LargeCohort",
        ("four members under a plan of at most three",),
    ),
    Lie(
        "a member twice, or a roster out of order",
        "DuplicateMember",
        ("a member who stands twice", "members out of order"),
    ),
    Lie("one key twice", "DuplicateKey", ("two members with one key", "an identity key as a mask key")),
    Lie("a key of small order", "WeakKey", ("a point of small order",)),
    Lie(
        "a roster without the device, or with other keys under its name",
        "NotInRoster",
        ("a roster without us", "our name with keys that are not ours", "neighbours without us"),
    ),
    Lie(
        "a second roster, the same or another",
        "RosterChanged",
        ("a second roster", "the same roster twice", "a second roster after the vector"),
    ),
    Lie("a roster behind a restart", "OutOfOrder", ("the roster again after a restart",)),
    Lie(
        "a lower threshold, fewer neighbours or another profile",
        "WrongRule",
        ("a threshold of two", "fewer neighbours than everybody", "another profile"),
    ),
    Lie(
        "a chosen graph: other neighbours than the roster's tree gives",
        "WrongNeighbours",
        ("three of our neighbours", "an entry at another place"),
    ),
    Lie(
        "a proof of the roster that is none",
        "WrongShape",
        (
            "more places than entries",
            "half a hash",
            "a proof with a hash too many",
            "a proof with a hash too few",
            "a proof where everybody is shown",
        ),
    ),
)
"""Who is in the roster, under which keys and which rule."""
