"""Bodies of requests: read in bounded memory and time, decompressed, and taken apart into the texts of events."""
