"""Helpers that know nothing of generated weights."""
