"""Adam for tables of which a step uses few rows."""

import math
import mmap

import torch

from peerage_torch.gradients import table_layers

VARIANCES = ("element", "row")


def zeros_on_demand(shape):
    """f32 zeros whose pages take memory when they are first written to, so that setting up takes no
    time. Huge pages where the system has them: rows are used in no order, and a page fault or a miss
    of the TLB for each costs more than the row's arithmetic."""
    count = math.prod(shape)
    if count == 0:
        return torch.zeros(shape)
    pages = mmap.mmap(-1, 4 * count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.float32, count=count).view(shape)


class RowwiseAdam(torch.optim.Optimizer):
    """Adam that reads and writes only the rows that a step used: of every table in a module (or in
    several). The other parameters want an optimiser of their own.

    Of a row that is used in every step it makes what torch.optim.Adam makes; a row that is not used
    keeps its moments, as in torch.optim.SparseAdam. `weight_decay` is decoupled, and of used rows.
    variance="row" keeps one second moment a row, the mean of its squares: a third less state.
    Takes gradients in all forms that layers have; fast, and without memory for them, from ledgers.
    """

    def __init__(self, modules, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0,
                 variance="element"):
        if variance not in VARIANCES:
            raise ValueError(f"variance is {variance!r}; it must be one of {VARIANCES}")
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"lr {lr}, eps {eps} and weight_decay {weight_decay} must not be "
                             f"negative, betas {betas} lie in [0, 1)")
        layers = table_layers(modules)
        if not layers:
            raise ValueError("RowwiseAdam: there is no PEER and no ProductKeyMemory in the modules")
        self.layers = layers
        super().__init__([{"params": layer.tables()} for layer in layers],
                         {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                          "variance": variance})

    def zero_grad(self, set_to_none=True):
        super().zero_grad(set_to_none)
        for layer in self.layers:
            if layer.ledger is not None:
                layer.ledger.clear()

    def load_state_dict(self, state_dict):
        """Moments stay f32 as they were saved; the base class makes them the tables' type."""
        super().load_state_dict(state_dict)
        tables = [table for group in self.param_groups for table in group["params"]]
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        for table, number in zip(tables, numbers, strict=True):
            for key, value in state_dict["state"].get(number, {}).items():
                self.state[table][key] = value.clone() if torch.is_tensor(value) else value

    def _moments(self, table, group):
        state = self.state[table]
        if not state:
            width = 1 if group["variance"] == "row" else table.shape[1]
            state["step"] = 0
            state["exp_avg"] = zeros_on_demand(table.shape)
            state["exp_avg_sq"] = zeros_on_demand((table.shape[0], width))
        return state

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for layer, group in zip(self.layers, self.param_groups, strict=True):
            if layer.ledger is not None:
                self._step_from_ledger(layer, group)
            else:
                for table in group["params"]:
                    self._step_from_gradient(table, group)
        return loss

    def _hyperparameters(self, group, step):
        return [float(group["lr"]), *group["betas"], group["eps"], group["weight_decay"],
                float(step), 1.0]

    def _step_from_ledger(self, layer, group):
        if layer.ledger.is_empty():
            return
        tables = group["params"]
        states = [self._moments(table, group) for table in tables]
        for state in states:
            state["step"] += 1
        torch.ops.peerage.rowwise_adam_ledger_(
            tables, [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states],
            layer.ledger.number, self._hyperparameters(group, states[0]["step"]))

    def _step_from_gradient(self, table, group):
        if table.grad is None:
            return
        state = self._moments(table, group)
        state["step"] += 1
        gradient, rows = table.grad, None
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            gradient, rows = gradient.values(), gradient.indices()[0]
        torch.ops.peerage.rowwise_adam_(table, state["exp_avg"], state["exp_avg_sq"], rows,
                                        gradient, self._hyperparameters(group, state["step"]))
