"""Whether a model that was converted for another program is still the model."""
