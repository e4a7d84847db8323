"""The console of operators: its commands, its tables, and who has logged in."""
