"""Preference studies: blind pairs out, votes in, and what they say with intervals."""
