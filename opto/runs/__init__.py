"""What happened, kept: records of steps, and the folders they live in."""

from opto.runs.record import CandidateRecord, Outcome, Rejection, StepRecord, as_json
from opto.runs.run import Run

__all__ = ["CandidateRecord", "Outcome", "Rejection", "Run", "StepRecord", "as_json"]
