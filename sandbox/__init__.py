"""The fake vendors: one local server that answers as the real ones do and keeps what it was told."""
