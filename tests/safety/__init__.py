"""Nothing lost, nothing executed."""
