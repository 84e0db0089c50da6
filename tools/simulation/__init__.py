"""A whole fleet on one machine: in one process, or as processes over MQTT."""
