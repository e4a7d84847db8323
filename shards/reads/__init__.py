"""Reading matches: the destination table and what is pending, counted together."""
