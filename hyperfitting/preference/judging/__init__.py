"""Language models that vote: `judge.py` asks, `reading.py` says what an answer says, `figures.py` how far to trust it.

Who is asked: `local.py`, a model here, or `endpoint.py`, one behind an address (`addresses.py`) that answers with `completions.py`.
"""
