#include "server/rpc/hidden_answer.h"

namespace peerage {

HiddenAnswer HiddenAnswer::Cut() {
  HiddenAnswer cut(layers_, hidden_size_);
  cut.parts_.swap(parts_);
  return cut;
}

void HiddenAnswer::MoveTo(google::protobuf::RepeatedPtrField<v1::HiddenStates>& to) {
  for (auto& [part, states] : parts_) {
    for (size_t i = 0; i < layers_.size(); ++i) {
      v1::HiddenStates& result = *to.Add();
      result.set_layer(layers_[i]);
      if (part.has_value()) result.set_index(*part);
      result.mutable_positions()->Add(states.positions.begin(), states.positions.end());
      result.set_hidden_size(hidden_size_);
      result.set_values(std::move(states.layers[i]));
    }
  }
  parts_.clear();
}

}  // namespace peerage
