"""What things are: events, calls, outcomes, dead letters, the workspace. No Beam, no clock, no socket."""
