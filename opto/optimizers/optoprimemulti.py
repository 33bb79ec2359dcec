"""Trace's import path of `OptoPrimeMulti`."""

from opto.optimizers.multi import OptoPrimeMulti

__all__ = ["OptoPrimeMulti"]
