"""The sender: reads a connection's log and talks to its vendor. See `docs/architecture.md`, *The path of a request*."""
