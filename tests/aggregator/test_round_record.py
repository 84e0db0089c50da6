"""A round's record names whom that round went without, and nobody of the round before."""

from aggregator.attendance import Attendance
from aggregator.round_record import RoundRecord


def test_who_was_declined_is_of_one_round_and_no_device_of_its_sum() -> None:
    record, facts = RoundRecord("j", Attendance()), {"included": ["dev-1"], "dropped": []}
    record.begin(1.0)
    for name in ("dev-2", "dev-1"):
        record.decline(name, "NoCompressor")
    assert record.close(facts, 2.0)["declined"] == {"dev-2": "NoCompressor"}
    record.finish()
    record.begin(3.0)
    assert record.close(facts, 4.0)["declined"] == {}
