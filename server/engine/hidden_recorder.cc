#include "server/engine/hidden_recorder.h"

#include "base/little_endian.h"

namespace peerage {

void HiddenRecorder::Start() {
  if (!wanted()) return;
  records_.resize(num_parts_ + 1);
  for (Record& record : records_) record.states.layers.resize(choice_->layers.size());
  for (size_t i = 0; i < num_parts_; ++i) records_[i + 1].states.part = static_cast<uint32_t>(i);
}

void HiddenRecorder::AddRows(size_t part, int32_t first_position, int32_t count,
                             StepBuilder& step) const {
  if (!wanted()) return;
  for (int32_t row = 0; row < count; ++row) {
    const auto position = static_cast<uint32_t>(first_position + row);
    if (!choice_->Has(position) || position < records_[PlaceOf(part, position)].next) continue;
    for (const uint32_t layer : choice_->layers) step.Report(row, static_cast<int32_t>(layer));
  }
}

// The layers of a token come one after the other.
void HiddenRecorder::Keep(size_t part, const ChunkResult& result) {
  const size_t layers = choice_->layers.size();
  for (size_t i = 0; i < result.hidden_rows.size(); i += layers) {
    const auto position = static_cast<uint32_t>(result.first_position + result.hidden_rows[i].row);
    Record& record = records_[PlaceOf(part, position)];
    if (position < record.next) continue;
    record.next = position + 1;
    record.states.positions.push_back(position);
    for (size_t layer = 0; layer < layers; ++layer) {
      AppendLittleEndian(result.hidden[i + layer], record.states.layers[layer]);
    }
  }
}

}  // namespace peerage
