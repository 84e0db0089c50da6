"""A whole fleet on one machine: in one process (`simulate`), or as processes over MQTT (`accord demo`)."""
