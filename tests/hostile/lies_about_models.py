"""Lies about the model: another one, an old one, other bytes, or too many of them."""

from told_lie import Lie

MODELS = (
    Lie("an opening of another model: the bundle", "ForeignBundle", ("a bundle that this device does not hold",)),
    Lie("another model under the same number", "VersionChanged", ("another model under the newest number",)),
    Lie("an older model", "OldVersion", ("an older model, signed anew",)),
    Lie(
        "a plan for another model than was announced",
        "ModelMismatch",
        ("a plan with another params_digest", "a plan with another bundle_digest"),
    ),
    Lie(
        "a plan for another tenant, job, round, attempt or version",
        "ForeignPlan",
        (
            "a plan with another tenant",
            "a plan with another job",
            "a plan with another round",
            "a plan with another attempt",
            "a plan with another base_version",
        ),
    ),
    Lie(
        "another model or plan for each device",
        "ForgedJoin",
        ("a member who holds another model", "a member who was shown another plan"),
    ),
    Lie(
        "a model of other bytes",
        "BadPiece",
        ("other bytes", "the whole has another digest", "other bytes in one of two"),
    ),
    Lie(
        "pieces of what nobody asked for",
        "ForeignPiece",
        ("of another object", "behind the last one", "a manifest that nobody asked for"),
    ),
    Lie(
        "a delta between other versions, or that nobody asked for",
        "ForeignDelta",
        ("from another version", "to another version", "a delta that nobody asked for"),
    ),
    Lie(
        "a delta to another model than it names",
        "WrongDelta",
        (
            "other steps",
            "without the scaling",
            "one advance twice",
            "another number in a basis",
            "a chain without its last advance",
        ),
    ),
    Lie("a delta that inflates without end", "OversizeDelta", ("values that inflate to too many",)),
    Lie(
        "a delta that takes a small board minutes of work",
        "CostlyDelta",
        ("a chain of more work than a device does",),
    ),
    Lie(
        "a delta that is none",
        "CorruptDelta",
        (
            "of another model",
            "blocks behind the last one",
            "blocks in an unknown form",
            "fewer values than the blocks have",
            "left-over values",
            "values that are not deflated",
            "values that inflate to too few",
            "the end of another snapshot",
            "numbers finer than their grid",
            "a basis beside blocks",
            "a chain without advances",
            "factors of the highest ranks that a chain may have",
            "a basis cut short",
            "a basis with something behind it",
            "a basis of an unknown side",
            "a basis with an entry above 2",
            "a basis with a vector of zeros",
            "factors of another rank",
            "factors without a rank",
            "blocks beside factors",
            "steps to infinity",
            "cut short",
            "left-over bytes",
        ),
    ),
    Lie("a model that fills the disk", "TooLarge", ("an object above the limit", "a model above the device's limit")),
    Lie("scales that do not fit the model", "BadMessage", ("scales that do not fit the model",)),
)
