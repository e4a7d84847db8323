"""Power failures: every state that the disk may be in afterwards is recovered by the real code, and checked."""
