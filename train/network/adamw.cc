#include "train/network/adamw.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <utility>

namespace peerage::train {

AdamW::AdamW(std::vector<Item> items, const OptimizerSection& section)
    : items_(std::move(items)),
      beta1_(section.beta1),
      beta2_(section.beta2),
      epsilon_(section.epsilon),
      clip_(section.clip) {
  for (Item& item : items_) {
    item.first = at::zeros_like(item.value.detach());
    item.second = at::zeros_like(item.value.detach());
  }
}

double AdamW::ClipGradients() {
  const c10::AutoGradMode no_gradients(/*enabled=*/false);
  std::vector<at::Tensor> norms;
  for (Item& item : items_) {
    if (!item.value.grad().defined()) item.value.mutable_grad() = at::zeros_like(item.value);
    norms.push_back(at::norm(item.value.grad()));
  }
  const double norm = at::norm(at::stack(norms)).item<double>();
  if (clip_ > 0) {
    // The small addend, and a factor of at most one, are those of torch's clip_grad_norm_.
    const double factor = std::min(1.0, clip_ / (norm + 1e-6));
    if (factor < 1) {
      for (Item& item : items_) item.value.mutable_grad().mul_(factor);
    }
  }
  return norm;
}

void AdamW::Step(double factor) {
  const c10::AutoGradMode no_gradients(/*enabled=*/false);
  ++steps_;
  const at::Tensor step = at::full({}, static_cast<double>(steps_), at::kFloat);
  for (Item& item : items_) {
    at::Tensor value = item.value.detach(), gradient = item.value.grad();
    at::_fused_adamw_(value, gradient, item.first, item.second, {}, step,
                      item.learning_rate * factor, beta1_, beta2_, item.weight_decay, epsilon_,
                      /*amsgrad=*/false, /*maximize=*/false);
    item.value.mutable_grad() = at::Tensor();
  }
}

}  // namespace peerage::train
