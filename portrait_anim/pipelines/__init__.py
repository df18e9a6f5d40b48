"""From a permit, a portrait and a driving clip to frames."""
