"""Names under which programs for Trace import things."""
