"""What runs on the device: the one package that users import."""
