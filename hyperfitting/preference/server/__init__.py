"""A study served to people: `app.py` answers, `guard.py` refuses, `serving.py` starts and ends it."""
