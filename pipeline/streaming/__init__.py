"""A streaming job over Kafka, and the senders beside it. See docs/streaming.md and docs/decisions/0011-streaming.md."""
