"""What is done: Beam wrappers that wire and do not decide; decisions are in `transforms/logic/`."""
