"""Helpers that do not depend on generated weights."""
