"""`OptoPrimeMulti`: several candidates for one step, of which one is chosen."""

from opto.optimizers.multi.optimizer import OptoPrimeMulti

__all__ = ["OptoPrimeMulti"]
