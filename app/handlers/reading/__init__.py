"""What readers ask of matches: lists, metrics, events, shots, exports and streams."""
