"""What happened, kept: records of steps, and the folders they live in."""

from opto.runs.record import Outcome, Rejection, StepRecord, as_json
from opto.runs.run import Run

__all__ = ["Outcome", "Rejection", "Run", "StepRecord", "as_json"]
