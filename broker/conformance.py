"""What every broker must do for a fleet, and what each one lacks: the list that tests hold and docs/brokers.md shows.

A story is a test in tests/brokers, which runs against every broker. Where a broker lacks it, the test must fail.
"""

from collections.abc import Mapping
from dataclasses import dataclass

BROKERS: Mapping[str, str] = {"embedded": "embedded", "mosquitto": "Mosquitto 2.0", "nats": "NATS 2.9"}
"""The brokers that were run, by the names of `accord demo --broker`."""

NEVER_LACKING = ("identity", "topic rules", "delivery at QoS 1")
"""Groups of stories that no broker may lack."""

_GROUPS: Mapping[str, Mapping[str, str]] = {
    "identity": {
        "a_neighbour_with_its_own_login_touches_no_session": "a client that logs in as itself and presents another's "
        "client id takes over nothing, deletes nothing and hears nothing",
        "a_wrong_password_touches_no_session": "a login that fails leaves the session it names as it was",
        "a_client_that_is_taken_out_is_cut": "a client that is taken out of the list is cut while the broker runs",
    },
    "certificates": {
        "a_certificate_names_its_client": "where certificates are asked for, who shows its own and says another's "
        "name, password and client id is not that other",
        "a_client_id_that_is_not_the_certificates_name_opens_no_session": "and who says its own name and another's "
        "client id, known to it, touches no session",
    },
    "topic rules": {
        "topic_rules_hold_for_both_directions": "nobody hears or writes outside its grants, by whatever filter",
        "a_forged_publication_changes_nothing": "a forged announcement, a forged deletion of one, and a forged will "
        "reach nobody, now or later",
    },
    "delivery at QoS 1": {
        "letters_go_both_ways_in_order_and_large": "letters of any size arrive once each and in order",
        "an_unacknowledged_letter_comes_again": "what was not acknowledged when a connection ended comes again",
        "a_late_acknowledgement_counts": "who takes ten seconds to acknowledge loses nothing",
        "what_a_reader_that_was_killed_had_not_dealt_with_comes_again": "what a reader that keeps its session had not "
        "dealt with when it was killed comes again, and nothing else",
        "a_reader_that_settles_nothing_is_sent_little": "who acknowledges nothing is sent no more than so many letters",
        "closing_loses_nothing": "what was handed over before an orderly end arrives",
    },
    "sessions": {
        "a_take_over_leaves_the_new_connection_hearing": "a client that comes back while its old connection still "
        "stands hears, and the old one is ended",
        "letters_wait_for_a_client_that_is_away": "letters wait for a session that is kept, in order",
        "letters_that_waited_are_not_marked_as_retained": "and they come as letters, not as retained ones",
        "a_kept_session_goes_on_without_subscribing_again": "a session that is kept still hears after a reconnect",
        "a_restarted_broker_is_found_again": "links come back after a restart, subscribe again and send what waited",
        "a_kept_session_outlives_the_broker": "a session that is kept, and what waits in it, outlives a restart",
    },
    "announcements and wills": {
        "the_newest_announcement_reaches_those_who_subscribe_alone": "a retained announcement reaches those who "
        "subscribe, the newest alone, and nobody else",
        "every_announcement_under_a_wildcard_is_heard": "fifty retained announcements come through one wildcard",
        "an_empty_announcement_takes_one_back": "an empty retained payload deletes",
        "announcements_outlive_the_broker": "retained announcements outlive a restart",
        "a_will_is_published_for_a_killed_process_and_not_for_an_orderly_one": "a will is published for a client that "
        "was killed, and not for one that left",
        "a_silent_peer_is_found_out_by_its_keepalive": "a peer that is gone without a word is found out, and its will "
        "published",
    },
    "limits": {
        "a_packet_that_is_too_large_costs_its_sender_alone": "a packet over the limit costs its sender the connection, "
        "and nobody else anything",
        "a_subscriber_that_does_not_read_is_bounded": "a client that does not read costs the broker a bounded memory, "
        "and others no delivery",
    },
    "manners": {
        "a_refused_subscription_is_told": "a subscription outside the grants is refused in its SUBACK",
        "what_was_sent_at_qos_0_comes_at_qos_0": "a letter of QoS 0 needs no acknowledgement of a QoS 1 subscriber",
        "mqtt_5_is_answered_at_once": "a client that begins with MQTT 5 gets an answer at once, yes or no",
        "a_name_may_have_a_dot": "a device id with a dot works",
    },
}
STORIES: Mapping[str, str] = {name: said for group in _GROUPS.values() for name, said in group.items()}
"""What each story asks for, by the name of its test."""


@dataclass(frozen=True, kw_only=True)
class Lack:
    """What one broker lacks, and why that is no harm or what to do."""

    story: str
    broker: str
    reason: str


_NOTHING_ON_DISK = (
    "The embedded broker keeps nothing on disk: announcements are made again, and devices ask for what they miss."
)

LACKS: tuple[Lack, ...] = (
    Lack(broker="embedded", story="a_kept_session_outlives_the_broker", reason=_NOTHING_ON_DISK),
    Lack(broker="embedded", story="announcements_outlive_the_broker", reason=_NOTHING_ON_DISK),
    Lack(
        broker="mosquitto",
        story="a_refused_subscription_is_told",
        reason="Mosquitto 2.0 grants every subscription in its SUBACK, and delivers nothing of what may not be heard.",
    ),
    Lack(
        broker="nats",
        story="a_client_id_that_is_not_the_certificates_name_opens_no_session",
        reason="NATS has no rule for client ids: who knows another's can end its connection and empty its queue, and "
        'gets no right by it. With `session = "unqueued"` nobody else knows it.',
    ),
    Lack(
        broker="nats",
        story="a_name_may_have_a_dot",
        reason="NATS before 2.10 ends the connection of who publishes to a topic with a dot. `accord broker config "
        'nats` refuses such a tenant or device; with `session = "unqueued"`, devices and aggregators refuse such '
        "a tenant, device or job by name.",
    ),
    Lack(
        broker="nats",
        story="a_packet_that_is_too_large_costs_its_sender_alone",
        reason="NATS 2.9 takes packets up to MQTT's own 256 MB: its `max_payload` counts for NATS's protocol alone. "
        "Links drop a connection that brings them more than they take.",
    ),
    Lack(
        broker="nats",
        story="a_subscriber_that_does_not_read_is_bounded",
        reason="NATS bounds the queue, but keeps in memory what it has stored in the last ten seconds, so its memory "
        "follows the traffic; start it with GOMEMLIMIT.",
    ),
)


def group(story: str) -> str:
    """Return the group of a story."""
    return next(name for name, stories in _GROUPS.items() if story in stories)


def reason(story: str, broker: str) -> str | None:
    """Return why a broker lacks a story, or None if it does not."""
    return next((lack.reason for lack in LACKS if (lack.story, lack.broker) == (story, broker)), None)


def table() -> str:
    """Return the table of docs/brokers.md: a row for each story, and the reasons below."""
    notes: list[str] = []
    lines = [f"| | {' | '.join(BROKERS.values())} |", f"|---|{'---|' * len(BROKERS)}"]
    for name, stories in _GROUPS.items():
        lines.append(f"| **{name}** |{' |' * len(BROKERS)}")
        for story, said in stories.items():
            cells = []
            for broker in BROKERS:
                lacks = reason(story, broker)
                if lacks is not None and lacks not in notes:
                    notes.append(lacks)
                cells.append("yes" if lacks is None else f"no ({notes.index(lacks) + 1})")
            lines.append(f"| {said} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{number}. {note}" for number, note in enumerate(notes, 1)), ""])
