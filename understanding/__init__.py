"""A sentence -> single objectives."""
