"""Gradients of tables: what form they have, where those go that are no tensors, and clipping."""

import weakref

import torch

KINDS = ("dense", "sparse", "ledger")


class Ledger:
    """Gradients of one layer's tables as their factors (train/ops/gradient_ledger.h).

    A copy of a layer has a ledger of its own.
    """

    def __init__(self):
        self.number = torch.ops.peerage.open_ledger()
        weakref.finalize(self, torch.ops.peerage.close_ledger, self.number)

    def __deepcopy__(self, memo):
        return Ledger()

    def __reduce__(self):
        return Ledger, ()

    def is_empty(self):
        return torch.ops.peerage.ledger_is_empty(self.number)

    def clear(self):
        torch.ops.peerage.clear_ledger(self.number)

    def square_norm(self):
        return torch.ops.peerage.ledger_square_norm(self.number)

    def scale(self, factor):
        torch.ops.peerage.scale_ledger(self.number, factor)


class TableLayer(torch.nn.Module):
    """A layer with tables, `table_gradient` and, for the kind "ledger", a `ledger`."""

    def __init__(self, table_gradient):
        super().__init__()
        if table_gradient not in KINDS:
            raise ValueError(f"table_gradient is {table_gradient!r}; it must be one of {KINDS}")
        self.table_gradient = table_gradient
        self.ledger = Ledger() if table_gradient == "ledger" else None

    def tables(self):
        """Parameters in the order of the ledger: up (or values), down, gate."""
        raise NotImplementedError

    def gradient_options(self):
        if self.ledger is not None and len({table.requires_grad for table in self.tables()}) > 1:
            raise ValueError("a ledger has the gradients of all tables of a layer: freeze all of them or "
                             "none, or make the layer with table_gradient=\"sparse\"")
        return {"table_gradient": self.table_gradient,
                "ledger": self.ledger.number if self.ledger is not None else 0}


def table_layers(modules):
    """Every layer with tables in a module or several, once."""
    roots = [modules] if isinstance(modules, torch.nn.Module) else list(modules)
    found = {id(m): m for root in roots for m in root.modules() if isinstance(m, TableLayer)}
    return list(found.values())


def zero_grad(module):
    """All gradients, those in ledgers as well."""
    module.zero_grad()
    for layer in table_layers(module):
        if layer.ledger is not None:
            layer.ledger.clear()


def _square_norm(gradient):
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return values.double().square().sum().item()


@torch.no_grad()
def clip_grad_norm_(module, max_norm):
    """Scales all gradients of a module so that their norm is at most `max_norm`; returns the norm
    before. As torch.nn.utils.clip_grad_norm_, but it knows sparse gradients and ledgers."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    ledgers = [layer.ledger for layer in table_layers(module) if layer.ledger is not None]
    norm = (sum(map(_square_norm, gradients)) + sum(x.square_norm() for x in ledgers)) ** 0.5
    factor = max_norm / (norm + 1e-6)
    if factor < 1:
        for gradient in gradients:
            gradient.mul_(factor)
        for ledger in ledgers:
            ledger.scale(factor)
    return norm
