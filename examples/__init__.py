"""Data to try profilecast with."""
