"""Decisions, pure: no Beam, no clock, no socket; `now` is an argument."""
