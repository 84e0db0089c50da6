"""The audit log: what the aggregator did, in an order that it can't change afterwards.

entries -> record_file -> folder: what lies where. log: appends and signs. verification, proof: what others check.
See docs/protocol.md, section 16.
"""
