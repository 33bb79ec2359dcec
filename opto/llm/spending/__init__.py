"""What calls of models cost: counted in ledgers, held to budgets, priced by a table or by the user."""

from opto.llm.spending.budget import Budget, Reservation, Spent, budgets_in_force, reserve, reserve_async
from opto.llm.spending.estimate import Estimate
from opto.llm.spending.expecting import Expectations
from opto.llm.spending.ledger import Ledger, ledgers_in_force
from opto.llm.spending.metering import Meter, MeteredCall
from opto.llm.spending.prices import Price, Pricing
from opto.llm.spending.records import CallRecord, Totals

__all__ = [
    "Budget",
    "CallRecord",
    "Estimate",
    "Expectations",
    "Ledger",
    "Meter",
    "MeteredCall",
    "Price",
    "Pricing",
    "Reservation",
    "Spent",
    "Totals",
    "budgets_in_force",
    "ledgers_in_force",
    "reserve",
    "reserve_async",
]
