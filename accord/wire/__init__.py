"""Letters: bytes on the way, and the verified messages they become."""
