"""CDNOW: a real purchase history, and the events that a profile store would have made of it."""
