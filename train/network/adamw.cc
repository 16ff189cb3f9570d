#include "train/network/adamw.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "train/ops/gradient_ledger.h"
#include "train/ops/row_optimizer.h"

namespace peerage::train {

AdamW::AdamW(std::vector<Item> items, const OptimizerSection& section)
    : items_(std::move(items)),
      beta1_(section.beta1),
      beta2_(section.beta2),
      epsilon_(section.epsilon),
      clip_(section.clip) {
  for (size_t i = 0; i < items_.size(); ++i) {
    Item& item = items_[i];
    item.first = at::zeros_like(item.value.detach());
    item.second = at::zeros_like(item.value.detach());
    if (item.place.ledger == 0) continue;
    tables_[item.place.ledger].push_back(i);
    if (section.variance == Variance::kRow) item.second = at::zeros({item.value.size(0), 1});
  }
}

std::vector<double> AdamW::TableNorms() const {
  std::vector<double> norms;
  for (const auto& [ledger, items] : tables_) {
    const std::vector<double> squares = LedgerSquareNorms(ledger);
    if (squares.empty()) continue;
    for (const size_t i : items) norms.push_back(std::sqrt(squares[items_[i].place.table]));
  }
  return norms;
}

double AdamW::ClipGradients() {
  const c10::AutoGradMode no_gradients(/*enabled=*/false);
  std::vector<at::Tensor> norms;
  for (Item& item : items_) {
    if (item.place.ledger != 0) continue;
    if (!item.value.grad().defined()) item.value.mutable_grad() = at::zeros_like(item.value);
    norms.push_back(at::norm(item.value.grad()));
  }
  for (const double norm : TableNorms()) norms.push_back(at::full({}, norm, at::kFloat));
  if (norms.empty()) return 0;
  const double norm = at::norm(at::stack(norms)).item<double>();
  // The small addend, and a factor of at most one, are those of torch's clip_grad_norm_.
  clip_factor_ = clip_ > 0 ? std::min(1.0, clip_ / (norm + 1e-6)) : 1.0;
  if (clip_factor_ < 1) {
    for (Item& item : items_) {
      if (item.place.ledger == 0) item.value.mutable_grad().mul_(clip_factor_);
    }
  }
  return norm;
}

void AdamW::Step(double factor) {
  const c10::AutoGradMode no_gradients(/*enabled=*/false);
  ++steps_;
  const at::Tensor step = at::full({}, static_cast<double>(steps_), at::kFloat);
  for (Item& item : items_) {
    if (item.place.ledger != 0) continue;
    at::Tensor value = item.value.detach(), gradient = item.value.grad();
    at::_fused_adamw_(value, gradient, item.first, item.second, {}, step,
                      item.learning_rate * factor, beta1_, beta2_, item.weight_decay, epsilon_,
                      /*amsgrad=*/false, /*maximize=*/false);
    item.value.mutable_grad() = at::Tensor();
  }
  for (const auto& [ledger, items] : tables_) StepTables(ledger, items, factor);
}

void AdamW::StepTables(int64_t ledger, const std::vector<size_t>& items, double factor) {
  std::vector<AdamTable> tables(items_[items.front()].place.tables);
  for (const size_t i : items) {
    const Item& item = items_[i];
    tables[item.place.table] = {.table = item.value.detach(),
                                .first_moment = item.first,
                                .second_moment = item.second,
                                .hyperparameters = {.learning_rate = item.learning_rate * factor,
                                                    .beta1 = beta1_,
                                                    .beta2 = beta2_,
                                                    .epsilon = epsilon_,
                                                    .weight_decay = item.weight_decay,
                                                    .step = static_cast<double>(steps_),
                                                    .gradient_scale = clip_factor_}};
  }
  RowwiseAdamFromLedger(tables, ledger);
  ClearLedger(ledger);
}

}  // namespace peerage::train
