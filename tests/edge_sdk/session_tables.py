"""What each event does to a device's session at each stage, one table for each profile."""

from edge_sdk import session_values as dev
from edge_sdk.session_values import Stage

# A cell is the next stage or the name of the refusal; "." is OutOfOrder, "=" is nothing at all, "-" is not reachable.
# A letter called old is round 1's, shown in round 2; stray is bound to this attempt but meant for another device.
STANDARD = """
                 idle           fetching       checked-in     joined         shared         working        masked         answered       withdrawn
opening          fetching       =              =              =              =              =              =              =              =
opening-next     fetching       fetching       fetching       fetching       fetching       fetching       fetching       fetching       fetching
opening-old      =              =              =              OldRound       OldRound       OldRound       OldRound       OldRound       OldRound
opening-foreign  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle
fetched          .              checked-in     .              .              .              .              .              .              .
fetched-old      .              .              .              .              .              .              .              .              .
later            .              StaleNonce     idle           .              .              .              .              .              .
later-old        .              StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce
later-stray      .              NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs
plan             .              .              joined         .              .              .              .              .              .
plan-old         .              .              StaleNonce     .              .              .              .              .              .
plan-stray       .              .              NotForUs       .              .              .              .              .              .
roster           .              .              .              shared         RosterChanged  RosterChanged  RosterChanged  .              .
roster-old       .              .              .              WrongContext   WrongContext   WrongContext   WrongContext   .              .
roster-stray     .              .              .              NotForUs       NotForUs       NotForUs       NotForUs       .              .
shares           .              .              .              .              working        .              .              .              .
shares-old       .              .              .              .              WrongContext   .              .              .              .
shares-stray     .              .              .              .              NotForUs       .              .              .              .
worked           .              .              .              .              .              masked         .              .              .
gave-up          .              .              .              .              .              withdrawn      .              .              .
survivors        .              .              .              .              .              .              answered       .              .
survivors-old    .              .              .              .              .              .              WrongContext   .              .
survivors-stray  .              .              .              .              .              .              NotForUs       .              .
result           .              .              .              WrongContext   idle           idle           idle           idle           idle
result-early     .              .              .              idle           WrongContext   WrongContext   WrongContext   WrongContext   WrongContext
result-old       =              =              =              =              =              =              =              =              =
result-stray     .              .              .              WrongContext   NotForUs       NotForUs       NotForUs       NotForUs       NotForUs
"""  # noqa: E501 - one row, one event
# Here a survivor set is signed first; the same one may come again, and another one is a lie.
STRICT = """
                 idle           fetching       checked-in     joined         shared         working        masked         confirmed      answered       withdrawn
opening          fetching       =              =              =              =              =              =              =              =              =
opening-next     fetching       fetching       fetching       fetching       fetching       fetching       fetching       fetching       fetching       fetching
opening-old      =              =              =              OldRound       OldRound       OldRound       OldRound       OldRound       OldRound       OldRound
opening-foreign  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle
fetched          .              checked-in     .              .              .              .              .              .              .              .
fetched-old      .              .              .              .              .              .              .              .              .              .
later            .              StaleNonce     idle           .              .              .              .              .              .              .
later-old        .              StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce     StaleNonce
later-stray      .              NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs
plan             .              .              joined         .              .              .              .              .              .              .
plan-old         .              .              StaleNonce     .              .              .              .              .              .              .
plan-stray       .              .              NotForUs       .              .              .              .              .              .              .
roster           .              .              .              shared         RosterChanged  RosterChanged  RosterChanged  RosterChanged  .              .
roster-old       .              .              .              WrongContext   WrongContext   WrongContext   WrongContext   WrongContext   .              .
roster-stray     .              .              .              NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       .              .
shares           .              .              .              .              working        .              .              .              .              .
shares-old       .              .              .              .              WrongContext   .              .              .              .              .
shares-stray     .              .              .              .              NotForUs       .              .              .              .              .
worked           .              .              .              .              .              masked         .              .              .              .
gave-up          .              .              .              .              .              withdrawn      .              .              .              .
survivors        .              .              .              .              .              .              confirmed      =              .              .
survivors-old    .              .              .              .              .              .              WrongContext   WrongContext   .              .
survivors-stray  .              .              .              .              .              .              NotForUs       NotForUs       .              .
survivors-other  .              .              .              .              .              .              -              SurvivorsChanged AnsweredBefore .
quorum           .              .              .              .              .              .              .              answered       .              .
quorum-old       .              .              .              .              .              .              .              WrongContext   .              .
quorum-stray     .              .              .              .              .              .              .              NotForUs       .              .
result           .              .              .              WrongContext   idle           idle           idle           idle           idle           idle
result-early     .              .              .              idle           WrongContext   WrongContext   WrongContext   WrongContext   WrongContext   WrongContext
result-old       =              =              =              =              =              =              =              =              =              =
result-stray     .              .              .              WrongContext   NotForUs       NotForUs       NotForUs       NotForUs       NotForUs       NotForUs
"""  # noqa: E501 - one row, one event
OFF = """
                 idle           fetching       checked-in     joined         shared  working        masked         answered       withdrawn
opening          fetching       =              =              =              -       =              =              =              =
opening-next     fetching       fetching       fetching       fetching       -       fetching       fetching       fetching       fetching
opening-old      =              =              =              OldRound       -       OldRound       OldRound       OldRound       OldRound
opening-foreign  ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle  -       ForeignBundle  ForeignBundle  ForeignBundle  ForeignBundle
fetched          .              checked-in     .              .              -       .              .              .              .
fetched-old      .              .              .              .              -       .              .              .              .
later            .              StaleNonce     idle           .              -       .              .              .              .
later-old        .              StaleNonce     StaleNonce     StaleNonce     -       StaleNonce     StaleNonce     StaleNonce     StaleNonce
later-stray      .              NotForUs       NotForUs       NotForUs       -       NotForUs       NotForUs       NotForUs       NotForUs
plan             .              .              joined         .              -       .              .              .              .
plan-old         .              .              StaleNonce     .              -       .              .              .              .
plan-stray       .              .              NotForUs       .              -       .              .              .              .
roster           .              .              .              working        -       .              .              .              .
roster-old       .              .              .              WrongContext   -       WrongContext   WrongContext   .              .
roster-stray     .              .              .              NotForUs       -       NotForUs       NotForUs       .              .
worked           .              .              .              .              -       masked         .              .              .
gave-up          .              .              .              .              -       withdrawn      .              .              .
survivors        .              .              .              .              -       .              answered       .              .
survivors-old    .              .              .              .              -       .              WrongContext   .              .
survivors-stray  .              .              .              .              -       .              NotForUs       .              .
result           .              .              .              WrongContext   -       idle           idle           idle           idle
result-early     .              .              .              idle           -       WrongContext   WrongContext   WrongContext   WrongContext
result-old       =              =              =              =              -       =              =              =              =
result-stray     .              .              .              WrongContext   -       NotForUs       NotForUs       NotForUs       NotForUs
"""  # noqa: E501 - one row, one event
TABLES = {"standard": STANDARD, "strict": STRICT, "off": OFF}
NAMED = {"gave-up": "gave up"}
OF_PROFILE = {("roster", "off"): "unmasked roster", ("survivors", "strict"): "survivors to confirm"}
"""What an event is called in TRANSITIONS where its row has another name."""
EFFECTS: dict[str, list[type]] = {
    "opening": [dev.Fetch],
    "fetched": [dev.Charge, dev.Send],
    "later": [],
    "plan": [dev.Keep, dev.Charge, dev.Send],
    "roster": [dev.Keep, dev.Send],
    "unmasked roster": [dev.Keep, dev.Work],
    "shares": [dev.Work],
    "worked": [dev.Keep, dev.Send],
    "gave up": [dev.Keep, dev.Forget, dev.Send, dev.Refused],
    "survivors": [dev.Keep, dev.Forget, dev.Send],
    "survivors to confirm": [dev.Keep, dev.Send],
    "quorum": [dev.Keep, dev.Forget, dev.Send],
    "result": [dev.Finished, dev.Charge, dev.Forget],
}
"""What each accepted event gives, in order: what binds a device is written before it leaves."""


def rows(table: str) -> dict[str, dict[Stage, str]]:
    head, *lines = [line.split() for line in table.strip().splitlines()]
    return {name: dict(zip(map(Stage, head), cells, strict=True)) for name, *cells in lines}


def event_of(name: str, profile: str) -> str:
    event = NAMED.get(name, name.partition("-")[0])
    return OF_PROFILE.get((event, profile), event)
