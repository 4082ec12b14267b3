"""Experiments: programs that people can run, each with one command."""
