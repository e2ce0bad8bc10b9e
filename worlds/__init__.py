"""Families of environments whose policies can be compared."""
