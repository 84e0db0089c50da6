"""An MQTT broker with our rules, and configuration for the real ones."""
