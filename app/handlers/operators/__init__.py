"""The routes for operators: dead letters, audits, erasures, shards, and who did what."""
