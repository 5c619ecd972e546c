"""What can be done to a machine, each operation once; every surface takes names, schemas and help from here."""

from qa.operations.catalogue import CATALOGUE
from qa.operations.operation import Catalogue, Operation, operation_of

__all__ = ["CATALOGUE", "Catalogue", "Operation", "operation_of"]
