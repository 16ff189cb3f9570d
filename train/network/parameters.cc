#include "train/network/parameters.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/match.h"

namespace peerage::train {
namespace {

// The tables of a layer in the order of ledgers.
std::vector<std::string> TablesOf(const nn::PeerPlan& peer) {
  std::vector<std::string> names = {peer.up.name, peer.down.name};
  if (peer.gate.has_value()) names.push_back(peer.gate->name);
  return names;
}
std::vector<std::string> TablesOf(const nn::ProductKeyMemoryPlan& memory) {
  return {memory.values.name};
}
std::vector<std::string> TablesOf(const nn::DenseFfnPlan&) { return {}; }
std::vector<std::string> TablesOf(const nn::MixtureFfnPlan&) { return {}; }

}  // namespace

bool Parameter::is_statistic() const {
  return absl::EndsWith(planned.name, ".query_norm.running_mean") ||
         absl::EndsWith(planned.name, ".query_norm.running_var");
}

void Parameters::Add(nn::PlannedTensor planned, bool changes) {
  Parameter parameter{.planned = std::move(planned), .changes = changes};
  parameter.value = at::zeros(parameter.planned.shape, at::kFloat);
  parameter.value.set_requires_grad(parameter.has_gradient());
  index_[parameter.planned.name] = all_.size();
  all_.push_back(std::move(parameter));
}

void Parameters::KeepTablesInLedgers(const nn::ModelPlan& plan) {
  for (const nn::BlockPlan& block : plan.blocks) {
    for (const nn::FeedForwardPlan& part : block.ffn) {
      const std::vector<std::string> tables =
          std::visit([](const auto& ffn) { return TablesOf(ffn); }, part);
      const auto learns = [&](const std::string& name) { return Find(name).has_gradient(); };
      if (std::none_of(tables.begin(), tables.end(), learns)) continue;
      const int64_t ledger = ledgers_.emplace_back().number();
      for (size_t i = 0; i < tables.size(); ++i) Find(tables[i]).place = {ledger, i, tables.size()};
    }
  }
}

at::Tensor Parameters::Get(const std::string& name, at::ScalarType type) {
  Parameter& parameter = Find(name);
  if (type == at::kFloat) return parameter.value;
  if (parameter.changes) return parameter.value.to(type);
  if (!parameter.cast.defined()) parameter.cast = parameter.value.to(type);
  return parameter.cast;
}

}  // namespace peerage::train
