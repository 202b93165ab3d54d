"""Language models that vote: `judge.py` asks, `endpoint.py` and `local.py` are who is asked, `figures.py` says how far to trust them."""
