"""opto: autodiff for computational workflows."""

__version__ = "0.1.0"
