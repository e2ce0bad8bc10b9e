"""Meaning: text -> vectors -> policies."""
